// Around a network: an image without a pixel over the threshold has a constant answer, and the
// network does not run.
//
// CONFIG has, as integers: size (pixels of an image), answers, threshold (a code), fraction
// (answers count 2**-fraction), and answer(n): the code of each.

namespace hairtrigger {

template <class CONFIG, class T> bool over(const T &pixel) {
#pragma HLS INLINE
    // Codes of unsigned pixels; a signed pixel below zero is not over a threshold of 0 or more.
    if (pixel < T(0))
        return false;
    return ap_uint<32>(pixel.range(T::width - 1, 0)) > ap_uint<32>(CONFIG::threshold);
}

template <class CONFIG, class T> T constant(int n) {
#pragma HLS INLINE
    ap_fixed<32, 32 - CONFIG::fraction> result;
    result.range(31, 0) = ap_int<32>(CONFIG::answer(n));
    return T(result);
}

template <class CONFIG, class in_T, class out_T> bool early_exit(const in_T *in, out_T *out) {
#pragma HLS INLINE
    bool any = false;
    for (int n = 0; n < CONFIG::size; n++) {
#pragma HLS UNROLL
        any |= over<CONFIG>(in[n]);
    }
    if (!any) {
        for (int n = 0; n < CONFIG::answers; n++) {
#pragma HLS UNROLL
            out[n] = constant<CONFIG, out_T>(n);
        }
    }
    return !any;
}

// A stream must be read to its end before it is known to be empty, so the image is kept.
template <class CONFIG, class in_T, class out_T>
bool early_exit(hls::stream<in_T> &in, hls::stream<out_T> &out, hls::stream<in_T> &again) {
    in_T image[CONFIG::size / in_T::size];
    bool any = false;
    for (int at = 0; at < CONFIG::size / int(in_T::size); at++) {
#pragma HLS PIPELINE II=1
        const in_T word = in.read();
        for (int n = 0; n < int(in_T::size); n++) {
#pragma HLS UNROLL
            any |= over<CONFIG>(word[n]);
        }
        image[at] = word;
    }
    if (any) {
        for (int at = 0; at < CONFIG::size / int(in_T::size); at++) {
#pragma HLS PIPELINE II=1
            again.write(image[at]);
        }
        return false;
    }
    for (int at = 0; at < CONFIG::answers; at += out_T::size) {
#pragma HLS PIPELINE II=1
        out_T word;
        for (int n = 0; n < int(out_T::size); n++) {
#pragma HLS UNROLL
            word[n] = constant<CONFIG, typename out_T::value_type>(at + n);
        }
        out.write(word);
    }
    return true;
}

} // namespace hairtrigger
