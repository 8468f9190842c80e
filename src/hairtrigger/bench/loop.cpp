// Times calls of a generated library's run function, one event each, without Python between them.
//
// usage: loop LIBRARY FUNCTION EVENTS SECONDS MOST IN_BYTES,... OUT_BYTES,...
// Standard input: for each input the codes of all EVENTS, in the type of the library's header.
// Standard output: for each output the codes of all EVENTS; then int64: the number of calls, their
// nanoseconds in a block without a clock inside, that of reading the clock twice, and of each call.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include <dlfcn.h>

namespace {

std::int64_t now() {
    using clock = std::chrono::steady_clock;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now().time_since_epoch())
        .count();
}

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(3);
}

std::vector<std::size_t> sizes(const char* text) {
    std::vector<std::size_t> found;
    std::stringstream stream{text};
    for (std::string part; std::getline(stream, part, ',');)
        found.push_back(std::strtoull(part.c_str(), nullptr, 10));
    return found;
}

void* function = nullptr;

// The C interface takes as many pointers as the Graph has inputs and outputs, and a count.
template <std::size_t... N>
int call(char* const* at, std::index_sequence<N...>) {
    using Run = int (*)(decltype((void)N, static_cast<void*>(nullptr))..., std::size_t);
    return reinterpret_cast<Run>(function)(at[N]..., 1);
}

int run(char* const* at) { return call(at, std::make_index_sequence<HT_PORTS>{}); }

}  // namespace

int main(int count, char** words) {
    if (count != 8) fail("usage: loop LIBRARY FUNCTION EVENTS SECONDS MOST IN_BYTES OUT_BYTES");
    void* library = dlopen(words[1], RTLD_NOW);
    if (library == nullptr) fail(dlerror());
    function = dlsym(library, words[2]);
    if (function == nullptr) fail(dlerror());
    const std::size_t events = std::strtoull(words[3], nullptr, 10);
    const double seconds = std::atof(words[4]);
    const std::size_t most = std::strtoull(words[5], nullptr, 10);
    const auto ins = sizes(words[6]), outs = sizes(words[7]);
    if (ins.size() + outs.size() != HT_PORTS) fail("another number of inputs and outputs");

    std::vector<std::vector<char>> memory;
    std::vector<std::size_t> steps{ins};
    steps.insert(steps.end(), outs.begin(), outs.end());
    for (const auto step : steps) memory.emplace_back(step * events + 64);
    for (std::size_t n = 0; n < ins.size(); ++n)
        if (std::fread(memory[n].data(), 1, ins[n] * events, stdin) != ins[n] * events)
            fail("too few codes on standard input");
    std::vector<std::vector<char*>> at(events);
    for (std::size_t event = 0; event < events; ++event)
        for (std::size_t n = 0; n < steps.size(); ++n)
            at[event].push_back(memory[n].data() + event * steps[n]);
    for (std::size_t event = 0; event < events; ++event)
        if (run(at[event].data()) != 0) fail("a code is out of its format");
    for (std::size_t n = ins.size(); n < steps.size(); ++n)
        std::fwrite(memory[n].data(), 1, steps[n] * events, stdout);

    const auto limit = static_cast<std::int64_t>(seconds * 1e9);
    std::size_t event = 0;
    const auto next = [&]() {
        char* const* found = at[event].data();
        if (++event == events) event = 0;
        return found;
    };
    int wrong = 0;
    for (const std::int64_t begin = now(); now() - begin < limit / 10;) wrong |= run(next());

    std::int64_t clock = limit;
    for (int n = 0; n < 1000; ++n) {
        const std::int64_t before = now(), after = now();
        if (after - before < clock) clock = after - before;
    }

    std::vector<std::int64_t> times;
    times.reserve(most);
    const std::int64_t begin = now();
    for (std::int64_t after = begin; after - begin < limit && times.size() < most;) {
        char* const* place = next();
        const std::int64_t before = now();
        wrong |= run(place);
        after = now();
        times.push_back(after - before);
    }

    std::int64_t calls = 0, spent = 0;
    for (const std::int64_t start = now(); spent < limit / 4; spent = now() - start) {
        for (int n = 0; n < 64; ++n) wrong |= run(next());
        calls += 64;
    }
    if (wrong != 0) fail("a call said that a code is out of its format");
    const std::int64_t head[3] = {calls, spent, clock};
    std::fwrite(head, sizeof(std::int64_t), 3, stdout);
    std::fwrite(times.data(), sizeof(std::int64_t), times.size(), stdout);
    return std::fflush(stdout) == 0 ? 0 : 3;
}
