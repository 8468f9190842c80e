// Counts how often the bits of a Verilated top module change: events at their interval, then as
// many clocks as the pipeline needs to empty.
//
//   activity EVENTS INTERVAL WORDS FLUSH     packed words on standard input
//
// Verilator writes every value change as text (VCD) to a file; here that file is a counter. Between
// the words of an event in_data keeps its value. The last line on standard error is the verdict:
//   "hairtrigger activity <signals> <bits> <toggles> <toggles of in_data and out_data> <clocks>".
// Clock and reset are left out.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_vcd_c.h"

namespace {

using Count = unsigned long long;
constexpr std::size_t in_bytes = (HT_IN_BITS + 7) / 8;

struct Signal {
    std::string value;
    bool port = false;
};

class Counter final : public VerilatedVcdFile {
    std::string line;
    std::unordered_map<std::string, Signal> signals;
    bool in_header = true;
    int depth = 0;

    void declared(const std::string& text) {
        char kind[32], code[64], name[256];
        int width = 0;
        if (std::sscanf(text.c_str(), " $var %31s %d %63s %255s", kind, &width, code, name) != 4)
            return;
        const std::string is = name;
        // The outermost scope is Verilator's own, with the ports of the top module once more.
        if (depth < 2 || is == "clk" || is == "rst") return;
        if (signals.emplace(code, Signal{std::string(width, 'x'), false}).second) {
            bits += width;
        }
        if (is.rfind("in_data", 0) == 0 || is.rfind("out_data", 0) == 0) {
            const auto found = signals.find(code);
            if (found != signals.end() && depth == 2) found->second.port = true;
        }
    }
    void changed(const std::string& text) {
        std::string value, code;
        if (text[0] == 'b') {
            const auto space = text.find(' ');
            value = text.substr(1, space - 1);
            code = text.substr(space + 1);
        } else {
            value = text.substr(0, 1);
            code = text.substr(1);
        }
        const auto found = signals.find(code);
        if (found == signals.end()) return;
        std::string& before = found->second.value;
        if (value.size() < before.size()) value.insert(0, before.size() - value.size(), '0');
        if (counting) {
            for (std::size_t n = 0; n < value.size(); ++n) {
                if (value[n] == before[n]) continue;
                ++toggles;
                if (found->second.port) ++port_toggles;
            }
        }
        before = value;
    }

public:
    Count bits = 0, toggles = 0, port_toggles = 0;
    bool counting = false;
    std::size_t size() const { return signals.size(); }
    bool open(const std::string&) override { return true; }
    void close() override {}
    ssize_t write(const char* text, ssize_t length) override {
        for (ssize_t n = 0; n < length; ++n) {
            if (text[n] != '\n') {
                line += text[n];
                continue;
            }
            if (in_header) {
                if (line.find("$scope") != std::string::npos) ++depth;
                if (line.find("$upscope") != std::string::npos) --depth;
                if (line.find("$enddefinitions") != std::string::npos) in_header = false;
                declared(line);
            } else if (!line.empty() && std::strchr("01b", line[0])) {
                changed(line);
            }
            line.clear();
        }
        return length;
    }
};

}  // namespace

int main(int count, char** words) {
    if (count != 5) return 2;
    const auto number = [&](int n) { return std::strtoull(words[n], nullptr, 10); };
    const Count events = number(1), interval = number(2), per_event = number(3), flush = number(4);
    VerilatedContext context;
    context.randReset(0);
    context.traceEverOn(true);
    auto top = std::make_unique<Vtop>(&context);
    Counter counter;
    VerilatedVcdC trace(&counter);
    top->trace(&trace, 99);
    trace.open("counted");
    Count now = 0;
    const auto clock = [&] {
        top->eval();
        top->clk = 1;
        top->eval();
        trace.dump(static_cast<std::uint64_t>(now++));
        top->clk = 0;
    };
    top->clk = 0;
    top->rst = 1;
    top->in_valid = 0;
    std::memset(static_cast<void*>(&top->in_data), 0, in_bytes);
    for (int n = 0; n < 4; ++n) clock();
    top->rst = 0;
    // Zeros through the pipeline first: what counts starts from a quiet chip.
    for (Count n = 0; n < flush; ++n) clock();
    trace.flush();
    counter.counting = true;
    const Count first = now;
    std::vector<unsigned char> word(in_bytes);
    for (Count event = 0; event < events; ++event) {
        for (Count n = 0; n < interval; ++n) {
            top->in_valid = n < per_event;
            if (n < per_event) {
                if (std::fread(word.data(), in_bytes, 1, stdin) != 1) return 3;
                std::memcpy(static_cast<void*>(&top->in_data), word.data(), in_bytes);
            }
            clock();
        }
    }
    top->in_valid = 0;
    for (Count n = 0; n < flush; ++n) clock();
    trace.flush();
    trace.close();
    top->final();
    std::fprintf(stderr, "\nhairtrigger activity %zu %llu %llu %llu %llu\n", counter.size(),
                 counter.bits, counter.toggles, counter.port_toggles, now - first);
    return 0;
}
