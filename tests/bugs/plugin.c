// A library that tricky.c opens and closes: allocates in itself what others free, and the other way round.
#include <stdlib.h>
#include <string.h>

void *plugin_make(size_t size);
void plugin_drop(void *block);

void *plugin_make(size_t size) {
    void *block = malloc(size);
    memset(block, 'p', size);
    return block;
}

void plugin_drop(void *block) { free(block); }
