// load_module FILE: a C program that loads a C++ module privately and asks it how its operator new behaves.
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *module = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    int (*ask)(void) = module != NULL ? (int (*)(void))dlsym(module, "throws_as_it_should") : NULL;
    if (ask == NULL) return fprintf(stderr, "no module\n"), 2;
    const int answer = ask();
    if (answer != 0) printf("load_module: C++20: answer %d\n", answer);
    return answer != 0;
}
