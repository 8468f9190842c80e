// A convolution of an image of few bits. The image is packed into one word a row and bit plane; a
// window is a handful of bits of those words, and a sum over it is a few look-ups: six bits
// address one table of 64 sums, which a chip holds in its LUTs. There is no product.
//
// CONFIG has, as integers: rows, columns, channels, bits, is_signed (of the input); window_rows,
// window_columns, stride_rows, stride_columns, pad_top, pad_left; out_rows, out_columns, filters,
// groups (tables of a filter), fraction (sums count 2**-fraction); and the functions
// table(n), 64 sums for each group of each filter, and bias(filter).

namespace hairtrigger {

template <class CONFIG> struct packed {
    static const int row_bits = CONFIG::columns * CONFIG::channels;
    static const int window_bits = CONFIG::window_rows * CONFIG::window_columns * CONFIG::channels;
    typedef ap_uint<row_bits> row_t;
    typedef ap_uint<6 * CONFIG::groups> window_t;
    typedef ap_int<32> sum_t;

    // The bits of a window, row by row; those outside the image are 0.
    static window_t window(const row_t rows[CONFIG::window_rows], int column) {
#pragma HLS INLINE
        window_t bits = 0;
        for (int r = 0; r < CONFIG::window_rows; r++) {
#pragma HLS UNROLL
            for (int c = 0; c < CONFIG::window_columns; c++) {
#pragma HLS UNROLL
                const int at = column + c - CONFIG::pad_left;
                for (int n = 0; n < CONFIG::channels; n++) {
#pragma HLS UNROLL
                    const int to = (r * CONFIG::window_columns + c) * CONFIG::channels + n;
                    if (at >= 0 && at < CONFIG::columns)
                        bits[to] = rows[r][at * CONFIG::channels + n];
                }
            }
        }
        return bits;
    }
    static sum_t sum(const window_t &bits, int filter) {
#pragma HLS INLINE
        sum_t total = 0;
        for (int group = 0; group < CONFIG::groups; group++) {
#pragma HLS UNROLL
            const ap_uint<6> address = bits.range(6 * group + 5, 6 * group);
            total += CONFIG::table((filter * CONFIG::groups + group) * 64 + address.to_uint());
        }
        return total;
    }
    // All bit planes of a window: the highest of a signed input counts negative.
    template <class T>
    static T number(const row_t rows[CONFIG::bits][CONFIG::window_rows], int column, int filter) {
#pragma HLS INLINE
        sum_t total = CONFIG::bias(filter);
        for (int bit = 0; bit < CONFIG::bits; bit++) {
#pragma HLS UNROLL
            const sum_t part = sum(window(rows[bit], column), filter) << bit;
            total += CONFIG::is_signed && bit == CONFIG::bits - 1 ? sum_t(-part) : part;
        }
        ap_fixed<32, 32 - CONFIG::fraction> result;
        result.range(31, 0) = total;
        return T(result);
    }
};

template <class CONFIG, class in_T, class out_T> void packed_conv(const in_T *in, out_T *out) {
#pragma HLS INLINE
    typedef packed<CONFIG> P;
    typename P::row_t image[CONFIG::bits][CONFIG::rows];
#pragma HLS ARRAY_PARTITION variable=image complete
    for (int row = 0; row < CONFIG::rows; row++) {
#pragma HLS UNROLL
        for (int at = 0; at < P::row_bits; at++) {
#pragma HLS UNROLL
            const ap_uint<CONFIG::bits> code = in[row * P::row_bits + at].range(CONFIG::bits - 1, 0);
            for (int bit = 0; bit < CONFIG::bits; bit++) {
#pragma HLS UNROLL
                image[bit][row][at] = code[bit];
            }
        }
    }
    for (int row = 0; row < CONFIG::out_rows; row++) {
#pragma HLS UNROLL
        typename P::row_t rows[CONFIG::bits][CONFIG::window_rows];
#pragma HLS ARRAY_PARTITION variable=rows complete
        for (int r = 0; r < CONFIG::window_rows; r++) {
#pragma HLS UNROLL
            const int from = row * CONFIG::stride_rows + r - CONFIG::pad_top;
            for (int bit = 0; bit < CONFIG::bits; bit++) {
#pragma HLS UNROLL
                rows[bit][r] = 0;
                if (from >= 0 && from < CONFIG::rows)
                    rows[bit][r] = image[bit][from];
            }
        }
        for (int column = 0; column < CONFIG::out_columns; column++) {
#pragma HLS UNROLL
            for (int filter = 0; filter < CONFIG::filters; filter++) {
#pragma HLS UNROLL
                out[(row * CONFIG::out_columns + column) * CONFIG::filters + filter] =
                    P::template number<out_T>(rows, column * CONFIG::stride_columns, filter);
            }
        }
    }
}

// Pixel by pixel: while a row comes in, the outputs of the last complete rows leave.
template <class CONFIG, class in_T, class out_T>
void packed_conv(hls::stream<in_T> &in, hls::stream<out_T> &out) {
    typedef packed<CONFIG> P;
    // Row i of a window without strides is complete when row i - pad_top + window_rows begins.
    static const int delay = CONFIG::window_rows - CONFIG::pad_top;
    static const int last = (CONFIG::out_rows - 1) * CONFIG::stride_rows + delay;
    static const int steps = last + 1 > CONFIG::rows ? last + 1 : CONFIG::rows;
    typename P::row_t rows[CONFIG::bits][CONFIG::window_rows];
    typename P::row_t next[CONFIG::bits];
#pragma HLS ARRAY_PARTITION variable=rows complete dim=0
#pragma HLS ARRAY_PARTITION variable=next complete
    for (int bit = 0; bit < CONFIG::bits; bit++) {
#pragma HLS UNROLL
        next[bit] = 0;
        for (int r = 0; r < CONFIG::window_rows; r++) {
#pragma HLS UNROLL
            rows[bit][r] = 0;
        }
    }
    for (int step = 0; step < steps; step++) {
        for (int column = 0; column < CONFIG::columns; column++) {
#pragma HLS PIPELINE II=1
            const int row = step - delay;
            if (row >= 0 && row % CONFIG::stride_rows == 0 &&
                row / CONFIG::stride_rows < CONFIG::out_rows &&
                column % CONFIG::stride_columns == 0 &&
                column / CONFIG::stride_columns < CONFIG::out_columns) {
                out_T word;
                for (int filter = 0; filter < CONFIG::filters; filter++) {
#pragma HLS UNROLL
                    word[filter] =
                        P::template number<typename out_T::value_type>(rows, column, filter);
                }
                out.write(word);
            }
            if (step < CONFIG::rows) {
                const in_T word = in.read();
                for (int n = 0; n < CONFIG::channels; n++) {
#pragma HLS UNROLL
                    const ap_uint<CONFIG::bits> code = word[n].range(CONFIG::bits - 1, 0);
                    for (int bit = 0; bit < CONFIG::bits; bit++) {
#pragma HLS UNROLL
                        next[bit][column * CONFIG::channels + n] = code[bit];
                    }
                }
            }
            if (column == CONFIG::columns - 1) {
                for (int bit = 0; bit < CONFIG::bits; bit++) {
#pragma HLS UNROLL
                    for (int r = 0; r + 1 < CONFIG::window_rows; r++) {
#pragma HLS UNROLL
                        rows[bit][r] = rows[bit][r + 1];
                    }
                    rows[bit][CONFIG::window_rows - 1] = next[bit];
                    next[bit] = 0;
                }
            }
        }
    }
}

} // namespace hairtrigger
