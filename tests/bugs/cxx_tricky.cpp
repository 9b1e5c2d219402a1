// Correct C++ programs that a careless allocator, or a careless diagnosis, gets wrong.
#include <cstddef>
#include <fstream>
#include <functional>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bug.h"

namespace {

void every_new(size_t size) {
    for (size_t n = 0; n < size; ++n) {
        delete[] new char[n];
        delete[] new (std::nothrow) char[n];
        ::operator delete(::operator new(n));
        ::operator delete(::operator new(n), n);
        ::operator delete[](::operator new[](n));
        ::operator delete[](::operator new[](n), n);
        ::operator delete(::operator new(n, std::nothrow), std::nothrow);
        for (size_t alignment = 8; alignment <= 4096; alignment *= 8) {
            const auto align = static_cast<std::align_val_t>(alignment);
            void *p = ::operator new(n, align);
            check((reinterpret_cast<uintptr_t>(p) & (alignment - 1)) == 0, "alignment of new");
            ::operator delete(p, n, align);
            ::operator delete(::operator new(n, align), align);
            ::operator delete[](::operator new[](n, align), n, align);
            ::operator delete(::operator new(n, align, std::nothrow), align, std::nothrow);
        }
    }
    delete static_cast<int *>(nullptr);
    delete[] static_cast<int *>(nullptr);
}

struct alignas(4096) Page {
    char bytes[4096] = {};
};
struct alignas(64) Line {
    char bytes[64] = {};
};

void overaligned_types(size_t) {
    std::vector<std::unique_ptr<Line>> lines;
    std::vector<Page> pages(10);
    for (int i = 0; i < 1000; ++i) {
        lines.push_back(std::make_unique<Line>());
        check((reinterpret_cast<uintptr_t>(lines.back().get()) & 63) == 0, "alignment of new");
    }
    pages.resize(40);
    for (const Page &page : pages) check((reinterpret_cast<uintptr_t>(&page) & 4095) == 0, "alignment of new");
}

void bad_alloc(size_t) {
    bool thrown = false;
    try {
        const auto bytes = reinterpret_cast<size_t>(opaque(reinterpret_cast<void *>(PTRDIFF_MAX - 100)));
        delete[] new char[bytes];
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    check(thrown, "new throws bad_alloc");
    const auto bytes = reinterpret_cast<size_t>(opaque(reinterpret_cast<void *>(PTRDIFF_MAX - 100)));
    check(::operator new(bytes, std::nothrow) == nullptr, "nothrow new gives null");
}

int handler_calls;

void new_handler(size_t) {
    std::set_new_handler([] {
        if (++handler_calls == 3) std::set_new_handler(nullptr);
    });
    bool thrown = false;
    try {
        const auto bytes = reinterpret_cast<size_t>(opaque(reinterpret_cast<void *>(PTRDIFF_MAX - 100)));
        ::operator delete(::operator new(bytes));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    check(thrown && handler_calls == 3, "the new handler is asked until it gives up");
}

struct Base {
    virtual ~Base() = default;
    long a = 1;
};
struct Other {
    virtual ~Other() = default;
    long b = 2;
};
struct Derived : Base, Other {
    char bytes[200] = {};
};

// The second base has a virtual destructor: the right block is freed though the pointer is inside it.
void virtual_second_base(size_t) {
    for (int i = 0; i < 1000; ++i) {
        Other *other = new Derived;
        delete other;
    }
}

struct WithDestructor {
    long a[3] = {1, 2, 3};
    ~WithDestructor() { a[0] = 0; }
};

void array_cookies(size_t size) {
    for (size_t n = 0; n < size; ++n) delete[] new WithDestructor[n];
    for (int n = 1; n < 30; ++n) {
        struct alignas(64) Aligned {
            ~Aligned() {}
            char bytes[64];
        };
        delete[] new Aligned[static_cast<size_t>(n)];
    }
}

void constructor_throws(size_t) {
    struct Throws {
        std::string name = std::string(100, 'n');
        explicit Throws(int i) {
            if (i % 2) throw i;
        }
    };
    int caught = 0;
    for (int i = 0; i < 1000; ++i) {
        try {
            delete new Throws(i);
        } catch (int) {
            ++caught;
        }
    }
    check(caught == 500, "exceptions");
}

void containers(size_t) {
    std::map<std::string, std::vector<std::string>> index;
    std::unordered_map<int, std::string> names;
    for (int i = 0; i < 20000; ++i) {
        index["key " + std::to_string(i % 997)].push_back("value " + std::to_string(i));
        names[i] = std::string(static_cast<size_t>(i % 200), 'x');
        if (i % 3 == 0) names.erase(i / 2);
    }
    size_t values = 0;
    for (const auto &[key, list] : index) values += list.size();
    check(values == 20000, "a map's contents");
}

void streams(size_t) {
    std::ostringstream out;
    for (int i = 0; i < 5000; ++i) out << i << ' ';
    std::istringstream in(out.str());
    long sum = 0;
    for (int number; in >> number;) sum += number;
    check(sum == 4999L * 5000 / 2, "a stream's contents");
    std::ifstream self("/proc/self/maps");
    std::string line;
    while (std::getline(self, line)) check(!line.empty(), "a file's contents");
}

void shared_between_threads(size_t size) {
    auto shared = std::make_shared<std::vector<char>>(size, 's');
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([shared] {
            for (int j = 0; j < 2000; ++j) {
                auto copy = shared;
                std::vector<char> own(*copy);
                check(own == *copy, "a copy's contents");
            }
        });
    }
    shared.reset();
    for (std::thread &thread : threads) thread.join();
}

void futures(size_t) {
    std::vector<std::future<std::string>> results;
    for (int i = 0; i < 100; ++i) {
        results.push_back(std::async(i % 2 ? std::launch::async : std::launch::deferred,
                                     [i] { return std::string(static_cast<size_t>(i) * 10, 'f'); }));
    }
    size_t bytes = 0;
    for (auto &result : results) bytes += result.get().size();
    check(bytes == 49500, "the results");
}

void memory_resources(size_t) {
    std::pmr::monotonic_buffer_resource buffer;
    std::pmr::unsynchronized_pool_resource pool(&buffer);
    std::pmr::map<int, std::pmr::string> map(&pool);
    for (int i = 0; i < 5000; ++i) map.emplace(i, "a string that does not fit into the object itself");
    check(map.size() == 5000, "a map's contents");
}

struct Late {
    std::vector<std::string> strings;
    ~Late() { strings.push_back("allocated while statics are destroyed, longer than a short string"); }
};
Late late;
thread_local Late late_in_thread;

void static_destructors(size_t) {
    for (int i = 0; i < 100; ++i) late.strings.push_back(std::string(100, 'l'));
    std::thread([] { late_in_thread.strings.resize(50, std::string(60, 't')); }).join();
    late_in_thread.strings.resize(50, std::string(60, 'm'));
}

const bug_case cases[] = {
    {"every_new", every_new},
    {"overaligned_types", overaligned_types},
    {"bad_alloc", bad_alloc},
    {"new_handler", new_handler},
    {"virtual_second_base", virtual_second_base},
    {"array_cookies", array_cookies},
    {"constructor_throws", constructor_throws},
    {"containers", containers},
    {"streams", streams},
    {"shared_between_threads", shared_between_threads},
    {"futures", futures},
    {"memory_resources", memory_resources},
    {"static_destructors", static_destructors},
};

}  // namespace

BUG_MAIN(cases)
