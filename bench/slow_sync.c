// slow_sync: makes every fsync and fdatasync of a program take longer, as on a slower disk. Built and preloaded by
// write_through.py; SLOW_SYNC_US says by how many microseconds.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int (*Sync)(int);

static int slowly(const char* name, int file) {
  const Sync sync = (Sync)dlsym(RTLD_NEXT, name);
  const int result = sync(file);
  const char* const text = getenv("SLOW_SYNC_US");
  const long microseconds = text == NULL ? 0 : atol(text);
  const struct timespec pause = {microseconds / 1000000, microseconds % 1000000 * 1000};
  nanosleep(&pause, NULL);
  return result;
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
