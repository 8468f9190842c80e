// Drives a Verilated AXI4-Stream wrapper with random valid and ready, and checks the protocol.
//
// Standard input: words of HT_IN_BYTES bytes and one byte that is 1 in the last word of a frame.
// Standard output: the answers, HT_OUT_BYTES each, with HT_PACKETS and a byte that is TLAST. The last line on standard error is the verdict:
//   "hairtrigger ok <clocks> <frame_error>"   or   "hairtrigger failed <what went wrong>".

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <unistd.h>

#include "Vtop.h"
#include "verilated.h"

namespace {

using Count = unsigned long long;
constexpr std::size_t in_bytes = HT_IN_BYTES, out_bytes = HT_OUT_BYTES;
#ifdef HT_PACKETS
constexpr std::size_t answer_bytes = out_bytes + 1;
#else
constexpr std::size_t answer_bytes = out_bytes;
#endif

std::uint64_t random_state = 1;

std::uint64_t random_word() {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1du;
}

// 1 with a probability of percent / 100, in runs: a stream that pauses does so for some clocks.
class Gate {
    unsigned percent;
    Count left = 0;
    bool open = false;

public:
    explicit Gate(unsigned percent) : percent(percent) {}
    bool next() {
        if (left == 0) {
            open = random_word() % 100 < percent;
            left = percent == 100 ? 1 : 1 + random_word() % 4;
        }
        --left;
        return open;
    }
};

[[noreturn]] void fail(const char* what, Count clock) {
    std::fprintf(stderr, "\nhairtrigger failed %s at clock %llu\n", what, clock);
    std::_Exit(3);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 6) {
        std::fprintf(stderr, "usage: stream ANSWERS SEED VALID_PERCENT READY_PERCENT MAX_CLOCKS\n");
        return 2;
    }
    const auto number = [&](int i) { return std::strtoull(arguments[i], nullptr, 10); };
    const Count answers = number(1), most = number(5);
    random_state = number(2) * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
    std::FILE* outputs = fdopen(dup(STDOUT_FILENO), "wb");
    dup2(STDERR_FILENO, STDOUT_FILENO);

    std::vector<unsigned char> words;
    unsigned char buffer[1 << 16];
    for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, stdin)) > 0;)
        words.insert(words.end(), buffer, buffer + got);
    const std::size_t total = words.size() / (in_bytes + 1);

    VerilatedContext context;
    context.randReset(2);
    context.randSeed(20240229);
    auto top = std::make_unique<Vtop>(&context);
    top->aclk = 0;
    top->aresetn = 0;
    top->s_axis_tvalid = 0;
    top->m_axis_tready = 0;
    const auto edge = [&] {
        top->aclk = 1;
        top->eval();
        top->aclk = 0;
    };
    for (int i = 0; i < 4; ++i) {
        top->eval();
        edge();
    }
    top->aresetn = 1;

    Gate valid(static_cast<unsigned>(number(3))), ready(static_cast<unsigned>(number(4)));
    std::vector<unsigned char> noise(in_bytes), held(answer_bytes), seen(answer_bytes);
    std::size_t given = 0;
    Count received = 0, clock = 0, quiet = 0;
    bool offering = false, waiting = false;
    // After the last answer due, watch on: one more would be a doubled one.
    while (received < answers || given < total || quiet < 200) {
        if (++clock > most) fail("the stream is stuck or lost an answer", clock);
        if (!offering && given < total) offering = valid.next();  // once offered, kept until taken
        if (offering) {
            std::memcpy(&top->s_axis_tdata, &words[given * (in_bytes + 1)], in_bytes);
            top->s_axis_tlast = words[given * (in_bytes + 1) + in_bytes];
        } else {
            for (auto& byte : noise) byte = static_cast<unsigned char>(random_word());
            std::memcpy(&top->s_axis_tdata, noise.data(), in_bytes);
            top->s_axis_tlast = random_word() & 1;
        }
        top->s_axis_tvalid = offering;
        top->m_axis_tready = 0;
        top->eval();
        const bool before = top->m_axis_tvalid;
        top->m_axis_tready = ready.next();
        top->eval();
        if (before != static_cast<bool>(top->m_axis_tvalid))
            fail("m_axis_tvalid depends on m_axis_tready", clock);
        if (waiting && !top->m_axis_tvalid) fail("m_axis_tvalid fell before tready", clock);
        if (top->m_axis_tvalid) {
            std::memcpy(seen.data(), &top->m_axis_tdata, out_bytes);
#ifdef HT_PACKETS
            seen[out_bytes] = top->m_axis_tlast;
#else
            if (!top->m_axis_tlast) fail("m_axis_tlast is 0", clock);
#endif
            if (waiting && seen != held) fail("an answer changed before tready", clock);
            held = seen;
            waiting = !top->m_axis_tready;
            if (top->m_axis_tready) {
                if (++received > answers) fail("an answer too many", clock);
                std::fwrite(seen.data(), answer_bytes, 1, outputs);
            }
        }
        if (offering && top->s_axis_tready) {
            offering = false;
            ++given;
        }
        quiet = received == answers && given == total ? quiet + 1 : 0;
        edge();
    }
    top->final();
    if (std::fflush(outputs) != 0) fail("the answers could not be written", clock);
    std::fprintf(stderr, "\nhairtrigger ok %llu %d\n", clock - quiet, int(top->frame_error));
    return 0;
}
