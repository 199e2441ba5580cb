// The settings of jemalloc, the server's allocator, which reads them when it is loaded.
//
// A pass takes and gives back the same few hundred megabytes each time, and responses wait for
// their readers in between. So memory that was given back stays for the next pass, and in pages of
// 2 MiB, since most of what a large answer costs is else the kernel's clearing of its pages; but
// only for some seconds, after which a thread of jemalloc's own returns it. Large blocks are kept
// like all others (no oversize_threshold). An own MALLOC_CONF in the environment comes last, and
// wins.
//
// Without jemalloc, as under the sanitizers, nobody reads this.

extern "C" {

[[gnu::visibility("default")]] extern const char* malloc_conf;
const char* malloc_conf =
    "thp:always,oversize_threshold:0,dirty_decay_ms:3000,muzzy_decay_ms:0,background_thread:true";
}
