// Zero suppression and downsizing of an image, in one pass: a pixel counts where it is over the
// threshold, and each block of pixels gives one number, its sum or its largest pixel, rounded to
// the format of the output and saturated.
//
// CONFIG has, as integers: rows, columns (of the image), down_rows, down_columns (of a block),
// threshold (a code), maximum (0: sum, 1: largest), drop (bits that the output has fewer), half
// (what is added before they are dropped) and most (the largest code of the output).

namespace hairtrigger {

template <class CONFIG> struct downsize {
    // Wide enough for the sum of a block of 32 by 32 pixels of 20 bits.
    typedef ap_uint<32> sum_t;
    static const int out_columns = CONFIG::columns / CONFIG::down_columns;

    template <class T> static sum_t kept(const T &pixel) {
#pragma HLS INLINE
        const sum_t code = pixel.range(T::width - 1, 0);
        return code > sum_t(CONFIG::threshold) ? code : sum_t(0);
    }
    static sum_t joined(sum_t a, sum_t b) {
#pragma HLS INLINE
        if (CONFIG::maximum)
            return a > b ? a : b;
        return a + b;
    }
    template <class T> static T rounded(sum_t sum) {
#pragma HLS INLINE
        const sum_t code = (sum + sum_t(CONFIG::half)) >> CONFIG::drop;
        T result;
        result.range(T::width - 1, 0) = code > sum_t(CONFIG::most) ? sum_t(CONFIG::most) : code;
        return result;
    }
};

template <class CONFIG, class in_T, class out_T> void threshold_downsize(const in_T *in, out_T *out) {
#pragma HLS INLINE
    typedef downsize<CONFIG> D;
    for (int row = 0; row < CONFIG::rows / CONFIG::down_rows; row++) {
#pragma HLS UNROLL
        for (int column = 0; column < D::out_columns; column++) {
#pragma HLS UNROLL
            typename D::sum_t sum = 0;
            for (int r = 0; r < CONFIG::down_rows; r++) {
#pragma HLS UNROLL
                for (int c = 0; c < CONFIG::down_columns; c++) {
#pragma HLS UNROLL
                    const int at = (row * CONFIG::down_rows + r) * CONFIG::columns +
                                   column * CONFIG::down_columns + c;
                    sum = D::joined(sum, D::kept(in[at]));
                }
            }
            out[row * D::out_columns + column] = D::template rounded<out_T>(sum);
        }
    }
}

// A word of the stream holds one pixel, or several neighbours of a row: a whole row, where the
// image comes as one row of a detector's channels a clock.
template <class CONFIG, class in_T, class out_T>
void threshold_downsize(hls::stream<in_T> &in, hls::stream<out_T> &out) {
    typedef downsize<CONFIG> D;
    typename D::sum_t sums[D::out_columns];
#pragma HLS ARRAY_PARTITION variable=sums complete
    for (int row = 0; row < CONFIG::rows; row++) {
        for (int at = 0; at < CONFIG::columns; at += in_T::size) {
#pragma HLS PIPELINE II=1
            const in_T word = in.read();
            for (int n = 0; n < int(in_T::size); n++) {
#pragma HLS UNROLL
                const int column = at + n;
                const bool first =
                    row % CONFIG::down_rows == 0 && column % CONFIG::down_columns == 0;
                typename D::sum_t &sum = sums[column / CONFIG::down_columns];
                sum = D::joined(first ? typename D::sum_t(0) : sum, D::kept(word[n]));
            }
        }
        if (row % CONFIG::down_rows == CONFIG::down_rows - 1) {
            for (int at = 0; at < D::out_columns; at += out_T::size) {
#pragma HLS PIPELINE II=1
                out_T word;
                for (int n = 0; n < int(out_T::size); n++) {
#pragma HLS UNROLL
                    word[n] = D::template rounded<typename out_T::value_type>(sums[at + n]);
                }
                out.write(word);
            }
        }
    }
}

} // namespace hairtrigger
