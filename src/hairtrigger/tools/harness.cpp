// Drives a Verilated top module with the ports clk, rst, in_valid, in_data, out_valid, out_data.
//
// Packed events come on standard input and packed outputs leave on standard output, both in
// little-endian bytes. The last line on standard error is the verdict:
//   "hairtrigger ok <latency> <clocks>"   or   "hairtrigger failed <what went wrong>".
//
// A clock is: set the inputs with clk low, evaluate, look at the outputs, then raise clk. Outputs
// are thus seen before the edge, so a combinational design has latency 0 and a design with L
// registers from in_valid to out_valid has latency L.

#include <bit>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include <unistd.h>

#include "Vtop.h"
#include "verilated.h"

static_assert(std::endian::native == std::endian::little, "ports are copied as little-endian bytes");

namespace {

using Count = unsigned long long;

constexpr std::size_t in_bytes = (HT_IN_BITS + 7) / 8;
constexpr std::size_t out_bytes = (HT_OUT_BITS + 7) / 8;
constexpr unsigned char in_top_mask = 0xff >> ((8 - HT_IN_BITS % 8) % 8);
constexpr Count quiet_clocks = 16;  // idle clocks watched beyond the latency
constexpr std::size_t chunk_bytes = 1 << 20;

std::FILE* outputs = nullptr;

[[noreturn]] void fail(const char* format, ...) {
    std::fflush(outputs);
    std::fprintf(stderr, "\nhairtrigger failed ");
    va_list values;
    va_start(values, format);
    std::vfprintf(stderr, format, values);
    va_end(values);
    std::fprintf(stderr, "\n");
    std::fflush(stderr);
    std::_Exit(3);
}

// Reproducible random words (xorshift64*), the same with every C++ library.
class Random {
    std::uint64_t state;

public:
    explicit Random(std::uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du) {
        if (state == 0) state = 1;
    }
    std::uint64_t word() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 0x2545f4914f6cdd1du;
    }
    void fill(unsigned char* bytes, std::size_t count) {
        for (std::size_t i = 0; i < count; i += 8) {
            const std::uint64_t w = word();
            std::memcpy(bytes + i, &w, count - i < 8 ? count - i : 8);
        }
    }
};

// The design. Ports of every width are little-endian words in memory, so bytes are copied as they
// are: CData, SData, IData and QData up to 64 bits, VlWide (an array of 32-bit words) beyond.
class Design {
    VerilatedContext context;
    std::unique_ptr<Vtop> top;

public:
    Count now = 0;  // clocks so far

    Design() {
        context.randReset(2);  // registers that no reset sets start with random bits
        context.randSeed(20240229);
        top = std::make_unique<Vtop>(&context);
        static_assert(sizeof(top->in_data) >= in_bytes && sizeof(top->out_data) >= out_bytes);
        top->clk = 0;
    }
    void set(bool rst, bool in_valid, const unsigned char* in_data) {
        top->rst = rst;
        top->in_valid = in_valid;
        std::memcpy(static_cast<void*>(&top->in_data), in_data, in_bytes);
        top->eval();
    }
    bool out_valid() const { return top->out_valid; }
    void out_data(unsigned char* bytes) const {
        std::memcpy(bytes, static_cast<const void*>(&top->out_data), out_bytes);
    }
    void edge() {
        top->clk = 1;
        top->eval();
        top->clk = 0;  // the falling edge is evaluated with the next inputs
        ++now;
        if (context.gotFinish()) fail("the design called $finish at clock %llu", now);
    }
    void finish() { top->final(); }
};

class Bench {
    Design design;
    Random random;
    std::vector<unsigned char> noise;

    // Data beside in_valid must not matter, so it changes every clock.
    const unsigned char* garbage() {
        random.fill(noise.data(), in_bytes);
        noise[in_bytes - 1] &= in_top_mask;
        return noise.data();
    }
    void reset() {
        design.set(true, true, garbage());  // an event offered during reset must be dropped
        design.edge();
    }
    void stay_quiet(Count clocks, const char* when) {
        for (Count i = 0; i < clocks; ++i) {
            design.set(false, false, garbage());
            if (design.out_valid())
                fail("out_valid is 1 %llu clocks %s, with no event in flight", i, when);
            design.edge();
        }
    }
    Count measure_latency(Count interval, Count words, Count max_latency) {
        for (Count clock = 0; clock <= max_latency; ++clock) {
            design.set(false, clock % interval < words, garbage());
            const bool seen = design.out_valid();
            design.edge();
            if (seen) return clock;
        }
        fail("no out_valid within %llu clocks of the first in_valid", max_latency);
    }

public:
    explicit Bench(Count seed) : random(seed), noise(in_bytes) {}

    void run(Count events, Count interval, bool gaps, Count max_latency, Count words) {
        // Fill the pipeline, then reset it for one clock: whatever still comes out was not reset.
        reset();
        stay_quiet(quiet_clocks, "after reset");
        const Count latency = measure_latency(interval, words, max_latency);
        reset();
        stay_quiet(latency + quiet_clocks, "after a reset with events in flight");
        reset();  // so that the events meet a design without a past

        std::vector<unsigned char> inputs(in_bytes * (1 + chunk_bytes / in_bytes));
        std::size_t held = 0, used = 0;  // words in the buffer, and those already given
        std::vector<unsigned char> output(out_bytes);
        std::deque<Count> in_flight;  // the clock at which each of them entered
        Count given = 0, received = 0, first = 0, last = 0;
        Count next = design.now;  // the earliest clock for the next event
        Count inside = 0;         // words of the present event that were given

        while (received < events) {
            const bool due = given < events && design.now >= next;
            // Words of one event follow each other without a gap.
            const bool valid = inside > 0 || (due && !(gaps && random.word() >> 63));
            const unsigned char* data = nullptr;
            if (valid) {
                if (used == held) {
                    const Count left = (events - given) * words - inside;
                    const std::size_t room = inputs.size() / in_bytes;
                    held = std::fread(inputs.data(), in_bytes, left < room ? left : room, stdin);
                    used = 0;
                    if (held == 0) fail("standard input ended after %llu events", given);
                }
                data = inputs.data() + in_bytes * used++;
                if (inside == 0) {
                    if (given == 0) first = design.now;
                    in_flight.push_back(design.now);
                    next = design.now + interval;
                }
                if (++inside == words) {
                    inside = 0;
                    ++given;
                }
            } else {
                data = garbage();
            }
            design.set(false, valid, data);
            const bool expected = !in_flight.empty() && in_flight.front() + latency == design.now;
            if (design.out_valid() != expected) {
                if (expected)
                    fail("event %llu gave no out_valid %llu clocks after its in_valid, the latency "
                         "of the first event", received, latency);
                fail("out_valid is 1 at clock %llu, where no event is due (%llu received, latency "
                     "%llu)", design.now - first, received, latency);
            }
            if (expected) {
                in_flight.pop_front();
                design.out_data(output.data());
                if (std::fwrite(output.data(), out_bytes, 1, outputs) != 1)
                    fail("the outputs could not be written");
                ++received;
                last = design.now;
            }
            design.edge();
        }
        stay_quiet(latency + quiet_clocks, "after the last event");
        design.finish();
        if (std::fflush(outputs) != 0) fail("the outputs could not be written");
        const Count clocks = events == 0 ? 0 : last - first + 1;
        std::fprintf(stderr, "\nhairtrigger ok %llu %llu\n", latency, clocks);
    }
};

}  // namespace

int main(int count, char** words) {
    if (count != 7) {
        std::fprintf(stderr, "usage: simulator EVENTS INTERVAL GAPS SEED MAX_LATENCY WORDS\n");
        return 2;
    }
    // What the design prints with $display must not mix with the outputs.
    outputs = fdopen(dup(STDOUT_FILENO), "wb");
    dup2(STDERR_FILENO, STDOUT_FILENO);
    if (outputs == nullptr) return 2;
    const auto number = [&](int i) { return std::strtoull(words[i], nullptr, 10); };
    Bench bench(number(4));
    bench.run(number(1), number(2), number(3) != 0, number(5), number(6));
    return 0;
}
