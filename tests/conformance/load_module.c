// load_module FILE [deep]: a C program that loads a C++ module privately, or with RTLD_DEEPBIND too, asks it how its
// operator new behaves, and exchanges blocks with it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    const int mode = RTLD_NOW | RTLD_LOCAL | (argc == 3 ? RTLD_DEEPBIND : 0);
    void *module = argc > 1 ? dlopen(argv[1], mode) : NULL;
    int (*ask)(void) = module != NULL ? (int (*)(void))dlsym(module, "throws_as_it_should") : NULL;
    void *(*exchange)(void *) = module != NULL ? (void *(*)(void *))dlsym(module, "free_and_make") : NULL;
    if (ask == NULL || exchange == NULL) return fprintf(stderr, "no module: %s\n", dlerror()), 2;
    const int answer = ask();
    if (answer != 0) printf("load_module: C++20: answer %d\n", answer);
    for (size_t bytes = 1; bytes < 200000; bytes += bytes / 2 + 1) free(exchange(malloc(bytes)));
    return answer != 0;
}
