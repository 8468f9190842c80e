"""The C++ around the top function: it runs events from a file, in integers, and traces layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hairtrigger.hls.project import Project, Tensor


HELPERS = """template <class T> void set_code(T &x, int64_t code) { x.V = code; }

template <int W, bool S> int64_t code_of(const ap_private<W, S> &bits) {
    ap_int_base<W, S> x;
    x.V = bits;
    return x.to_int64();
}

template <class T> void give(T *x, const int64_t *&codes, size_t size) {
    for (size_t i = 0; i < size; i++) set_code(x[i], *codes++);
}

template <class T> void give(hls::stream<T> &x, const int64_t *&codes, size_t size) {
    for (size_t i = 0; i < size; i += T::size) {
        T word;
        for (size_t j = 0; j < T::size; j++) set_code(word[j], *codes++);
        x.write(word);
    }
}

template <class T> void take(const T *x, std::vector<int64_t> &codes, size_t size) {
    for (size_t i = 0; i < size; i++) codes.push_back(code_of(x[i].V));
}

template <class T> void take(hls::stream<T> &x, std::vector<int64_t> &codes, size_t size) {
    for (size_t i = 0; i < size; i += T::size) {
        T word = x.read();
        for (size_t j = 0; j < T::size; j++) codes.push_back(code_of(word[j].V));
    }
}
"""
"""C++ from codes to numbers and back, for arrays and streams."""


def harness_text(project: Project) -> str:
    """``simulate.cpp``: ``simulate IN OUT TRACE LAYER...`` with files of int64 codes (traces:
    doubles, NaN where a layer did not run), event by event, tensors behind each other."""
    stream = project.io_type == "io_stream"
    ports = [*project.inputs, *project.outputs]
    declared = "\n".join(f"    {_declared(x, stream)}" for x in ports)
    given = "\n".join(f"        {_give(x, stream)}" for x in project.inputs)
    taken = "\n".join(f"        {_take(x, stream)}" for x in project.outputs)
    layers = "\n".join(f'    {{"{x.layer}", {x.size}}},' for x in project.layers)
    return f"""// Runs {project.name}() on events from a file; written by hairtrigger.
//   simulate IN OUT TRACE [LAYER ...]
// IN, OUT: int64 codes, event by event; TRACE: doubles of the layers named, NaN where one did not
// run, or "-". Compile from this folder with -std=c++17 -I firmware -I firmware/ap_types.
#include "firmware/{project.name}.cpp"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nnet {{
bool trace_enabled = false;
std::map<std::string, void *> *trace_outputs = NULL;
size_t trace_type_size = sizeof(double);
}}

namespace {{

struct Layer {{
    const char *name;
    size_t size;
}};
const Layer layers[] = {{
{layers}
    {{"", 0}},
}};

{HELPERS}
}} // namespace

int main(int count, char **words) {{
    if (count < 4) return 2;
    FILE *in = std::fopen(words[1], "rb"), *out = std::fopen(words[2], "wb"), *trace = NULL;
    if (!in || !out) return 2;
    std::setvbuf(out, NULL, _IONBF, 0);  // so that its length says which event failed
    std::map<std::string, void *> storage;
    std::map<std::string, std::vector<double>> traced;
    if (std::strcmp(words[3], "-") != 0) {{
        trace = std::fopen(words[3], "wb");
        if (!trace) return 2;
        for (const Layer *layer = layers; layer->size; layer++) {{
            traced[layer->name].resize(layer->size);
            storage[layer->name] = traced[layer->name].data();
        }}
        nnet::trace_outputs = &storage;
        nnet::trace_enabled = true;
    }}
    std::vector<int64_t> event({sum(x.size for x in project.inputs)}), answer;
    while (std::fread(event.data(), 8, event.size(), in) == event.size()) {{
        const int64_t *codes = event.data();
{declared}
{given}
        for (auto &layer : traced)
            for (double &x : layer.second) x = std::numeric_limits<double>::quiet_NaN();
        {project.name}({", ".join(_argument(x, stream) for x in ports)});
        answer.clear();
{taken}
        if (std::fwrite(answer.data(), 8, answer.size(), out) != answer.size()) return 2;
        for (int n = 4; trace && n < count; n++) {{
            const auto &values = traced.at(words[n]);
            if (std::fwrite(values.data(), 8, values.size(), trace) != values.size()) return 2;
        }}
    }}
    if (trace && std::fclose(trace) != 0) return 2;
    return std::fclose(out) == 0 ? 0 : 2;
}}
"""


def _variable(x: Tensor) -> str:
    return f"ht_{x.name}"


def _declared(x: Tensor, stream: bool) -> str:
    if stream:
        return f'    hls::stream<{x.type_name}> {_variable(x)}("{x.name}");'
    # On the heap, and new for each event: what is read beyond it is seen.
    return f"    std::unique_ptr<{x.type_name}[]> {_variable(x)}(new {x.type_name}[{x.size}]);"


def _argument(x: Tensor, stream: bool) -> str:
    return _variable(x) if stream else f"{_variable(x)}.get()"


def _give(x: Tensor, stream: bool) -> str:
    return f"give({_argument(x, stream)}, codes, {x.size});"


def _take(x: Tensor, stream: bool) -> str:
    return f"take({_argument(x, stream)}, answer, {x.size});"
