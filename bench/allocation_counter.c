// Allocation counter: preloaded into a process, counts its heap allocations in a file that others can read meanwhile.
// ALLOCATION_COUNTER names the file: one 64-bit number in the machine's byte order. It counts malloc, calloc, realloc and
// the aligned forms, operator new through them. Under a sanitizer, whose runtime must be preloaded first, that runtime
// reports the allocations.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// glibc's own names of what is replaced here.
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

static uint64_t before_start;  // counts until the file is there
static uint64_t* count = &before_start;

static void add(void) { __atomic_fetch_add(count, 1, __ATOMIC_RELAXED); }

void* malloc(size_t bytes) {
  add();
  return __libc_malloc(bytes);
}
void* calloc(size_t members, size_t bytes) {
  add();
  return __libc_calloc(members, bytes);
}
void* realloc(void* old, size_t bytes) {
  add();
  return __libc_realloc(old, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  add();
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** result, size_t alignment, size_t bytes) {
  *result = memalign(alignment, bytes);
  return *result == NULL ? ENOMEM : 0;
}

static void on_malloc(const volatile void* block, size_t bytes) {
  (void)block, (void)bytes;
  add();
}
static void on_free(const volatile void* block) { (void)block; }

__attribute__((constructor)) static void start(void) {
  const char* path = getenv("ALLOCATION_COUNTER");
  const int file = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof *count) != 0) return;
  void* shared = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (shared != MAP_FAILED) count = shared;
  typedef int (*Install)(void (*)(const volatile void*, size_t), void (*)(const volatile void*));
  const Install install = (Install)dlsym(RTLD_DEFAULT, "__sanitizer_install_malloc_and_free_hooks");
  if (install != NULL) install(on_malloc, on_free);
}
