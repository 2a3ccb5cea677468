/* A double of libnvidia-ml.so.1: NVIDIA's management library needs a card, and no machine of ours has one.

   It tells what a table says, read anew at each question: the file that NVML_TABLE names, a line a card:
       name|total bytes|free bytes|degrees|degrees at which it slows down|pid:bytes pid:bytes ...
   Names and numbers of the functions are those of nvml.h; what is not asked for here is not here. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, CARDS = 8, HOLDERS = 8 };

typedef struct { unsigned long long total, free, used; } memory_info;
typedef struct { unsigned int pid; unsigned long long used; unsigned int instance, compute; } process_info;
typedef struct {
    char name[96];
    unsigned long long total, free;
    unsigned int degrees, limit, holders;
    process_info holder[HOLDERS];
} card;

static card cards[CARDS];

static unsigned int read_table(void) {
    char line[1024], rest[512];
    unsigned int count = 0;
    const char *path = getenv("NVML_TABLE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    while (count < CARDS && fgets(line, sizeof line, file)) {
        card *one = &cards[count];
        memset(one, 0, sizeof *one);
        rest[0] = 0;
        if (sscanf(line, "%95[^|]|%llu|%llu|%u|%u|%511[^\n]", one->name, &one->total, &one->free,
                   &one->degrees, &one->limit, rest) < 5)
            continue;
        for (char *word = strtok(rest, " "); word && one->holders < HOLDERS; word = strtok(NULL, " ")) {
            process_info *held = &one->holder[one->holders];
            if (sscanf(word, "%u:%llu", &held->pid, &held->used) == 2) one->holders++;
        }
        count++;
    }
    fclose(file);
    return count;
}

static int processes(card *one, unsigned int *count, process_info *found) {
    unsigned int room = *count;
    *count = one->holders;
    if (one->holders == 0) return SUCCESS;
    if (room < one->holders) return INSUFFICIENT_SIZE;
    memcpy(found, one->holder, one->holders * sizeof *found);
    return SUCCESS;
}

int nvmlInitWithFlags(unsigned int flags) { (void)flags; read_table(); return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { (void)result; return "an error of the double"; }

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = read_table(); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index >= read_table()) return INVALID_ARGUMENT;
    *device = &cards[index];
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    snprintf(name, length, "%s", ((card *)device)->name);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, memory_info *memory) {
    card *one = device;
    memory->total = one->total;
    memory->free = one->free;
    memory->used = one->total - one->free;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned int *degrees) {
    (void)sensor;
    *degrees = ((card *)device)->degrees;
    return SUCCESS;
}

int nvmlDeviceGetTemperatureThreshold(void *device, int threshold, unsigned int *degrees) {
    (void)threshold;
    *degrees = ((card *)device)->limit;
    return *degrees ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, process_info *found) {
    return processes(device, count, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned int *count, process_info *found) {
    (void)device; (void)found;
    *count = 0;
    return SUCCESS;
}
