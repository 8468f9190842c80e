// tiny: made by hairtrigger 0.1.0. C++17, two's complement integers.
// Each kernel runs on W events at once; lanes hold equal elements of all of them.
#include "tiny.h"

#include <stddef.h>
#include <stdint.h>

// The address of thread-local memory is asked for once a call, not once an element.
#if defined(__GNUC__)
#define HT_ONCE(pointer) __asm__("" : "+r"(pointer))
#else
#define HT_ONCE(pointer)
#endif
// What was written here is read elsewhere. GCC 12 may turn `base[i] = x` into a store at address 0
// plus base plus i, take that for a store to nowhere, and drop the call of the function.
#if defined(__GNUC__)
#define HT_WRITTEN(pointer) __asm__ __volatile__("" : : "r"(pointer) : "memory")
#else
#define HT_WRITTEN(pointer) (void)(pointer)
#endif
// Lanes of a loop do not depend on each other.
#if defined(__clang__)
#define HT_LANES _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define HT_LANES _Pragma("GCC ivdep")
#else
#define HT_LANES
#endif
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HT_SHUFFLE
#endif
#endif

namespace {

// dense: Dense; Relu; Quantize, at 1 positions
template <int W> void kernel0(char *memory) {
    const ptrdiff_t lanes = 1 * W;
    const int16_t *p0 = (const int16_t *)(memory + 0 * W) + ptrdiff_t(0) * W;
    int16_t *p1 = (int16_t *)(memory + 8 * W) + ptrdiff_t(0) * W;
    HT_LANES
    for (ptrdiff_t i = 0; i < lanes; ++i) {
        const int16_t x0 = (int16_t)(p0[i + 0 * W]);
        const int16_t x1 = (int16_t)(p0[i + 1 * W]);
        const int16_t x3 = (int16_t)(x0 * 3);
        const int16_t x5 = (int16_t)(x1 * 5);
        const int16_t x7 = (int16_t)(x3 + x5);
        const int16_t x9 = (int16_t)(x1 * 2);
        const int16_t x10 = (int16_t)(x9 - x0);
        const int16_t x12 = (int16_t)(x7 + 4);
        const int16_t x13 = (int16_t)(0 > x12 ? 0 : x12);
        const int16_t x14 = (int16_t)(0 > x10 ? 0 : x10);
        const int16_t x15 = (int16_t)(4 + x13);
        const int16_t x16 = (int16_t)(x15 >> 3);
        const int16_t x18 = (int16_t)(x16 < 15 ? x16 : 15);
        const int16_t x19 = (int16_t)(4 + x14);
        const int16_t x20 = (int16_t)(x19 >> 3);
        p1[i + 0 * W] = (int16_t)x18;
        p1[i + 1 * W] = (int16_t)x20;
    }
    HT_WRITTEN(memory);
}

} // namespace

namespace {

inline void turn_int8_4(const int8_t *from, ptrdiff_t step, int8_t *to, ptrdiff_t to_step) {
#ifdef HT_SHUFFLE
    typedef int8_t row __attribute__((vector_size(4)));
    row a[4], b[4];
    for (int n = 0; n < 4; ++n)
        __builtin_memcpy(&a[n], from + n * step, sizeof(row));
    for (int n = 0; n < 2; ++n) {
        b[2 * n] = __builtin_shufflevector(a[n], a[n + 2], 0, 4, 1, 5);
        b[2 * n + 1] = __builtin_shufflevector(a[n], a[n + 2], 2, 6, 3, 7);
    }
    for (int n = 0; n < 2; ++n) {
        a[2 * n] = __builtin_shufflevector(b[n], b[n + 2], 0, 4, 1, 5);
        a[2 * n + 1] = __builtin_shufflevector(b[n], b[n + 2], 2, 6, 3, 7);
    }
    for (int n = 0; n < 4; ++n)
        __builtin_memcpy(to + n * to_step, &a[n], sizeof(row));
#else
    for (int n = 0; n < 4; ++n)
        for (int k = 0; k < 4; ++k)
            to[n * to_step + k] = from[k * step + n];
#endif
    HT_WRITTEN(to);
}
bool load0_1(const int8_t *events, char *memory) {
    int16_t *lanes = (int16_t *)(memory + 0);
    (void)lanes;
    int wrong = 0;
    HT_LANES
    for (int w = 0; w < 1; ++w) {
        { const int x = events[w * 2 + 0]; wrong |= (x < -32) | (x > 31); lanes[0 + w] = (int16_t)(x >> 0); }
        { const int x = events[w * 2 + 1]; wrong |= (x < -32) | (x > 31); lanes[1 + w] = (int16_t)(x >> 0); }
    }
    HT_WRITTEN(memory);
    return wrong == 0;
}
bool load0_4(const int8_t *events, char *memory) {
    int16_t *lanes = (int16_t *)(memory + 0);
    (void)lanes;
    int wrong = 0;
    HT_LANES
    for (int w = 0; w < 4; ++w) {
        { const int x = events[w * 2 + 0]; wrong |= (x < -32) | (x > 31); lanes[0 + w] = (int16_t)(x >> 0); }
        { const int x = events[w * 2 + 1]; wrong |= (x < -32) | (x > 31); lanes[4 + w] = (int16_t)(x >> 0); }
    }
    HT_WRITTEN(memory);
    return wrong == 0;
}
template <int W> void store0(const char *memory, uint8_t *events) {
    (void)memory;
    const int16_t *lanes1 = (const int16_t *)(memory + 8 * W);
    HT_LANES
    for (int w = 0; w < W; ++w) {
        events[w * 2 + 0] = (uint8_t)lanes1[0 * W + w];
        events[w * 2 + 1] = (uint8_t)lanes1[1 * W + w];
    }
    HT_WRITTEN(events);
}

bool run1(const int8_t *in0, uint8_t *out0, char *memory) {
    bool right = true;
    right &= load0_1(in0, memory);
    kernel0<1>(memory);
    store0<1>(memory, out0);
    return right;
}

bool run4(const int8_t *in0, uint8_t *out0, char *memory) {
    bool right = true;
    right &= load0_4(in0, memory);
    kernel0<4>(memory);
    store0<4>(memory, out0);
    return right;
}

alignas(64) thread_local char lanes1[80];

alignas(64) thread_local char lanes4[128];

template <class R>
bool encode0(const R *numbers, int8_t *codes, size_t events) {
    int wrong = 0;
    HT_LANES
    for (size_t n = 0; n < events * 2; ++n) {
        const R x = numbers[n];
        const R scaled = x * R(8.0);
        const R most = sizeof(R) == 4 ? R(1 << 22) : R(1 << 30);
        const bool fine = (scaled > -most) & (scaled < most);
        wrong |= !fine;
        const R low = __builtin_floor(fine ? scaled : R(0));
        int32_t code = (int32_t)low;
        const R half = low + R(0.5);
        code += (scaled >= half) ? 1 : 0;
        code = code < -32 ? -32 : code;
        code = code > 31 ? 31 : code;
        codes[n] = (int8_t)(code * (1 << 0));
    }
    HT_WRITTEN(codes);
    return wrong == 0;
}

} // namespace

int tiny_abi(void) { return TINY_ABI; }

int tiny_run(const tiny_in0_t *in0, tiny_out0_t *out0, size_t events) {
    bool right = true;
    size_t n = 0;
    char *memory1 = lanes1;
    HT_ONCE(memory1);
    char *memory4 = lanes4;
    HT_ONCE(memory4);
    for (; n + 4 <= events; n += 4)
        right &= run4(in0 + n * 2, out0 + n * 2, memory4);
    if (events - n > 4) {
        static thread_local int8_t last_in0[8] = {0};
        static thread_local uint8_t last_out0[8];
        for (size_t k = 0; k < 8; ++k)
            last_in0[k] = k < (events - n) * 2 ? in0[n * 2 + k] : (int8_t)0;
        right &= run4(last_in0, last_out0, memory4);
        for (size_t k = 0; k < (events - n) * 2; ++k)
            out0[n * 2 + k] = last_out0[k];
        return right ? 0 : 1;
    }
    for (; n < events; ++n)
        right &= run1(in0 + n * 2, out0 + n * 2, memory1);
    return right ? 0 : 1;
}

int tiny_encode0_f32(const float *numbers, tiny_in0_t *codes, size_t events) {
    return encode0<float>(numbers, codes, events) ? 0 : 1;
}

int tiny_encode0_f64(const double *numbers, tiny_in0_t *codes, size_t events) {
    return encode0<double>(numbers, codes, events) ? 0 : 1;
}
