// Bytes that are set aside for something, over all calls.

#ifndef SCALPEL_SERVER_ENGINE_BYTE_BUDGET_H_
#define SCALPEL_SERVER_ENGINE_BYTE_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <memory>

namespace scalpel::engine {

// Thread-safe. What is reserved may outlive this object.
class ByteBudget {
 public:
  explicit ByteBudget(int64_t limit) : limit_(limit) {}

  // The bytes are reserved as long as the result lives; null: so many are not left.
  std::shared_ptr<const void> Reserve(int64_t bytes) {
    if (used_->fetch_add(bytes) + bytes > limit_) {
      used_->fetch_sub(bytes);
      return nullptr;
    }
    return {this, [used = used_, bytes](const void*) { used->fetch_sub(bytes); }};
  }

  int64_t limit() const { return limit_; }
  int64_t used() const { return used_->load(); }

 private:
  const int64_t limit_;
  const std::shared_ptr<std::atomic<int64_t>> used_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_BYTE_BUDGET_H_
