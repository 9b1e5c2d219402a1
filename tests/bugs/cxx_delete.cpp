// Bugs of C++'s own: the wrong thing is deleted, or the right one twice.
#include <list>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "bug.h"

namespace {

struct Item {
    long numbers[6] = {1, 2, 3, 4, 5, 6};
};

template <class T>
T *hidden(T *pointer) {
    return static_cast<T *>(opaque(pointer));
}

void delete_twice(size_t) {
    Item *item = new Item;
    delete item;          // @first_free delete_twice
    delete hidden(item);  // @free delete_twice
}

void delete_array_twice(size_t size) {
    char *bytes = new char[size];
    delete[] bytes;          // @first_free delete_array_twice
    delete[] hidden(bytes);  // @free delete_array_twice
}

void sized_delete_twice(size_t size) {
    void *bytes = ::operator new(size);
    ::operator delete(bytes, size);          // @first_free sized_delete_twice
    ::operator delete(opaque(bytes), size);  // @free sized_delete_twice
}

void nothrow_delete_twice(size_t size) {
    void *bytes = ::operator new(size, std::nothrow);
    ::operator delete(bytes, std::nothrow);          // @first_free nothrow_delete_twice
    ::operator delete(opaque(bytes), std::nothrow);  // @free nothrow_delete_twice
}

struct alignas(64) Line {
    char bytes[192] = {};
};

void aligned_delete_twice(size_t) {
    Line *line = new Line;
    delete line;          // @first_free aligned_delete_twice
    delete hidden(line);  // @free aligned_delete_twice
}

void unique_ptr_twice(size_t) {
    auto first = std::make_unique<Item>();
    std::unique_ptr<Item> second(hidden(first.get()));
    first.reset();   // @first_free unique_ptr_twice
    second.reset();  // @free unique_ptr_twice
}

void shared_ptr_twice(size_t) {
    Item *item = new Item;
    std::shared_ptr<Item> first(item);
    std::shared_ptr<Item> second(hidden(item));
    first.reset();   // @first_free shared_ptr_twice
    second.reset();  // @free shared_ptr_twice
}

void vector_data_freed(size_t size) {
    std::vector<char> bytes(size, 'v');
    ::operator delete(opaque(bytes.data()));  // @first_free vector_data_freed
    bytes.clear();
    bytes.shrink_to_fit();  // @free vector_data_freed
}

void string_data_deleted(size_t size) {
    std::string text(size + 32, 's');
    delete hidden(text.data());  // @first_free string_data_deleted
    text.clear();
    text.shrink_to_fit();  // @free string_data_deleted
}

// The string is short, so its bytes are inside the object, which is on the stack.
void short_string_deleted(size_t) {
    std::string text("short");
    delete hidden(text.data());  // @free short_string_deleted
    check(text == "short", "a string");
}

struct First {
    long a = 1;
    ~First() {}
};
struct Second {
    long b[3] = {2, 2, 2};
    ~Second() {}
};
struct Both : First, Second {};

// Second has no virtual destructor and is not Both's first base: the pointer is 8 bytes inside the block.
void second_base(size_t) {
    Both *both = new Both;
    Second *second = both;
    delete static_cast<Second *>(opaque(second));  // @free second_base
    delete both;
}

// new[] keeps the number of elements in front of them; a scalar delete hands out the address of the first element.
struct WithDestructor {
    long a[2] = {0, 0};
    ~WithDestructor() { a[0] = 0; }
};

void scalar_delete_of_array(size_t) {
    WithDestructor *array = new WithDestructor[5];
    delete hidden(array);  // @free scalar_delete_of_array
    delete[] array;
}

void delete_stack_object(size_t) {
    Item item;
    delete hidden(&item);  // @free delete_stack_object
    check(item.numbers[5] == 6, "an object on the stack");
}

Item static_item;

void delete_static_object(size_t) {
    delete hidden(&static_item);  // @free delete_static_object
    check(static_item.numbers[5] == 6, "a static object");
}

void delete_reference_element(size_t) {
    std::vector<Item> items(10);
    delete hidden(&items[3]);  // @free delete_reference_element
    check(items[3].numbers[5] == 6, "an element");
}

void delete_map_value(size_t) {
    std::map<int, Item> items;
    items[1] = Item{};
    delete hidden(&items[1]);  // @free delete_map_value
    check(items[1].numbers[5] == 6, "a map's value");
}

void placement_object(size_t) {
    alignas(Item) static char storage[sizeof(Item)];
    Item *item = new (storage) Item;
    delete hidden(item);  // @free placement_object
}

struct Handle {
    char *bytes;
    explicit Handle(size_t size) : bytes(new char[size]) {}
    ~Handle() { delete[] bytes; }  // @free copied_handle in_unwinding in_container
};

// The rule of three, broken.
void copied_handle(size_t size) {
    Handle one(size);
    Handle two(one);
}

void in_unwinding(size_t size) {
    try {
        Handle one(size);
        Handle two(one);
        throw 1;
    } catch (int) {
    }
}

void in_container(size_t size) {
    std::list<Handle> handles;
    handles.emplace_back(size);
    handles.push_back(handles.front());
}

void delete_in_two_threads(size_t) {
    Item *item = new Item;
    std::thread([&] { delete item; }).join();          // @first_free delete_in_two_threads
    std::thread([&] { delete hidden(item); }).join();  // @free delete_in_two_threads
}

void new_array_overflow(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    free(left);
    free(right);
    enum { kBlocks = 512 };
    char *blocks[kBlocks];
    for (char *&block : blocks) block = new char[size];
    for (int i = 0; i < kBlocks; ++i) {
        for (int j = 0; j < kBlocks; ++j) {
            if (blocks[j] != blocks[i] + size + 1) continue;
            hidden(blocks[i])[size] = '!';              // @write new_array_overflow
            for (char *block : blocks) delete[] block;  // @free new_array_overflow
            return;
        }
    }
    hidden(blocks[0])[size] = '!';              // @write new_array_overflow
    for (char *block : blocks) delete[] block;  // @left new_array_overflow
}

// The length of a name is taken for the size of a buffer.
void names_without_nul(size_t) {
    const std::string name(47, 'n');  // fills a slot of 48 bytes
    std::vector<char *> names;
    for (int i = 0; i < 256; ++i) names.push_back(new char[name.size()]);
    for (char *&copy : names) memset(copy, 'n', name.size());
    size_t written = 0;
    for (char *copy : names) {
        for (char *other : names) {
            if (other == copy + 48 && written == 0)
                written = strlen(strcpy(hidden(copy), name.c_str()));  // @write names_without_nul
        }
    }
    // Nobody's neighbour: there is room between blocks.
    if (written == 0) strcpy(hidden(names[0]), name.c_str());
    for (char *copy : names) delete[] copy;  // @free names_without_nul
}

const bug_case cases[] = {
    {"delete_twice", delete_twice},
    {"delete_array_twice", delete_array_twice},
    {"sized_delete_twice", sized_delete_twice},
    {"nothrow_delete_twice", nothrow_delete_twice},
    {"aligned_delete_twice", aligned_delete_twice},
    {"unique_ptr_twice", unique_ptr_twice},
    {"shared_ptr_twice", shared_ptr_twice},
    {"vector_data_freed", vector_data_freed},
    {"string_data_deleted", string_data_deleted},
    {"short_string_deleted", short_string_deleted},
    {"second_base", second_base},
    {"scalar_delete_of_array", scalar_delete_of_array},
    {"delete_stack_object", delete_stack_object},
    {"delete_static_object", delete_static_object},
    {"delete_reference_element", delete_reference_element},
    {"delete_map_value", delete_map_value},
    {"placement_object", placement_object},
    {"copied_handle", copied_handle},
    {"in_unwinding", in_unwinding},
    {"in_container", in_container},
    {"delete_in_two_threads", delete_in_two_threads},
    {"new_array_overflow", new_array_overflow},
    {"names_without_nul", names_without_nul},
};

}  // namespace

BUG_MAIN(cases)
