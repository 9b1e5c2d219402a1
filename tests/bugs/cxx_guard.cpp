// The wrong deallocation function, the wrong size, and containers left by one: only level `guard` can see them.
#include <new>
#include <string>
#include <vector>

#include "bug.h"

namespace {

volatile long sink;

struct Item {
    long numbers[6] = {1, 2, 3, 4, 5, 6};
};

void new_free(size_t) {
    Item *item = new Item;
    free(opaque(item));  // @free new_free
}

void new_array_free(size_t size) {
    char *bytes = new char[size];
    free(opaque(bytes));  // @free new_array_free
}

void malloc_delete(size_t size) {
    char *bytes = static_cast<char *>(malloc(size));
    delete static_cast<char *>(opaque(bytes));  // @free malloc_delete
}

void malloc_delete_array(size_t size) {
    char *bytes = static_cast<char *>(malloc(size));
    delete[] static_cast<char *>(opaque(bytes));  // @free malloc_delete_array
}

void new_array_delete(size_t size) {
    char *bytes = new char[size];
    delete static_cast<char *>(opaque(bytes));  // @free new_array_delete
}

void new_delete_array(size_t) {
    long *number = new long(1);
    delete[] static_cast<long *>(opaque(number));  // @free new_delete_array
}

void new_realloc(size_t size) {
    char *bytes = new char[size];
    char *more = static_cast<char *>(realloc(opaque(bytes), size * 2));  // @free new_realloc
    free(more);
}

void sized_delete_wrong(size_t size) {
    void *bytes = ::operator new(size);
    ::operator delete(opaque(bytes), size + 32);  // @free sized_delete_wrong
}

struct Small {
    long a = 1;
};
struct Big : Small {
    long more[20] = {};
};

// Without a virtual destructor the compiler passes the base's size.
void delete_by_base(size_t) {
    Small *item = new Big;
    delete static_cast<Small *>(opaque(item));  // @free delete_by_base
}

void vector_past_end(size_t size) {
    std::vector<char> bytes(size, 'v');
    static_cast<char *>(opaque(bytes.data()))[size] = 'x';  // @write vector_past_end
    bytes.clear();
    bytes.shrink_to_fit();  // @free vector_past_end
}

void stale_reference(size_t) {
    std::vector<Item> items(4);
    Item *first = static_cast<Item *>(opaque(&items[0]));
    items.resize(400);      // @first_free stale_reference
    first->numbers[3] = 7;  // @write stale_reference
}

void stale_c_str(size_t size) {
    std::string text(size + 32, 's');
    char *bytes = static_cast<char *>(opaque(text.data()));
    text.append(1000, 't');  // @first_free stale_c_str
    bytes[20] = 'x';         // @write stale_c_str
}

void read_vector_past_end(size_t size) {
    const std::vector<long> numbers(size * 2, 1);
    sink = static_cast<const long *>(opaque(numbers.data()))[size * 2];  // @write read_vector_past_end
}

void read_deleted(size_t) {
    const Item *item = new Item;
    delete item;                                                 // @first_free read_deleted
    sink = static_cast<const Item *>(opaque(item))->numbers[1];  // @write read_deleted
}

const bug_case cases[] = {
    {"new_free", new_free},
    {"new_array_free", new_array_free},
    {"malloc_delete", malloc_delete},
    {"malloc_delete_array", malloc_delete_array},
    {"new_array_delete", new_array_delete},
    {"new_delete_array", new_delete_array},
    {"new_realloc", new_realloc},
    {"sized_delete_wrong", sized_delete_wrong},
    {"delete_by_base", delete_by_base},
    {"vector_past_end", vector_past_end},
    {"stale_reference", stale_reference},
    {"stale_c_str", stale_c_str},
    {"read_vector_past_end", read_vector_past_end},
    {"read_deleted", read_deleted},
};

}  // namespace

BUG_MAIN(cases)
