/* tiny: made by hairtrigger 0.1.0. Exact integers; no tolerance.
 *
 * Inputs and outputs are codes: a number is its code times 2**-FRACTION. Events follow
 * each other; an event is a tensor, row by row.
 */
#ifndef TINY_H
#define TINY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TINY_ABI 1

/* Input 0 "x": 2 codes. */
#define TINY_IN0_SIZE 2
#define TINY_IN0_FRACTION (3)
typedef int8_t tiny_in0_t;

/* Output 0 "score": 2 codes. */
#define TINY_OUT0_SIZE 2
#define TINY_OUT0_FRACTION (1)
typedef uint8_t tiny_out0_t;

/* Version of this interface in the library that is linked. */
int tiny_abi(void);

/* Runs `events` events. 0: done. 1: a code is out of its format; results are then
 * undefined. Any number of threads may call it at once. It allocates nothing. */
int tiny_run(const tiny_in0_t *in0, tiny_out0_t *out0, size_t events);

/* Real numbers to codes of input 0, rounded and limited as it says. 1: a number is
 * NaN, infinite or too large to be sure. */
int tiny_encode0_f32(const float *numbers, tiny_in0_t *codes, size_t events);

/* Real numbers to codes of input 0, rounded and limited as it says. 1: a number is
 * NaN, infinite or too large to be sure. */
int tiny_encode0_f64(const double *numbers, tiny_in0_t *codes, size_t events);

#ifdef __cplusplus
}
#endif

#endif
