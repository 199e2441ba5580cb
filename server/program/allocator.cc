// The settings of jemalloc, the server's allocator, which reads them when it is loaded.
//
// A pass takes and gives back the same few hundred megabytes each time, and responses wait for
// their readers in between. So memory that was given back stays for the next pass, but only for
// some seconds, after which a thread of jemalloc's own returns it. Large blocks are kept like all
// others (no oversize_threshold). Pages are as large as the system wants them (thp:default): asked
// for pages of 2 MiB, the kernel may have to make them while a pass waits, which cost more than
// they saved; the weights, which are loaded once, ask for theirs (kernels/buffer.h). An own
// MALLOC_CONF in the environment comes last, and wins.
//
// Without jemalloc, as under the sanitizers, nobody reads this.

extern "C" {

[[gnu::visibility("default")]] extern const char* malloc_conf;
const char* malloc_conf =
    "thp:default,oversize_threshold:0,dirty_decay_ms:3000,muzzy_decay_ms:0,background_thread:true";
}
