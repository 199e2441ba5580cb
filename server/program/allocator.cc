// The settings of jemalloc, the server's allocator, which reads them when it is loaded.
//
// Each pass allocates and frees about the same few hundred megabytes, with responses that wait for
// their readers in between. So freed memory is kept for the next pass, but after three seconds
// without use a background thread returns it to the system. Large blocks are treated like all
// others (oversize_threshold:0). Huge pages are left to the system (thp:default): if they are
// requested, the kernel may have to assemble them while a pass waits, which cost more than it
// saved. The weights, which are loaded once, request huge pages themselves (kernels/buffer.h).
// MALLOC_CONF in the environment overrides these settings.
//
// Without jemalloc, as under the sanitizers, this variable is unused.

extern "C" {

[[gnu::visibility("default")]] extern const char* malloc_conf;
const char* malloc_conf =
    "thp:default,oversize_threshold:0,dirty_decay_ms:3000,muzzy_decay_ms:0,background_thread:true";
}
