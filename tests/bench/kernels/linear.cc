#include "server/kernels/linear.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tests/bench/kernels/cases.h"
#include "tests/bench/kernels/expected.h"

namespace scalpel::bench {
namespace {

constexpr int kBlocks = 12;
constexpr int64_t kRows[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
struct Shape {
  int64_t in, out;
};
constexpr std::array<Shape, 4> kShapes = {{{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}}};
constexpr int64_t kRowsChecked = 16;

// Packs weights for oneDNN's linear layer, which has no C++ header in libtorch and is called by its
// schema. The number of rows is left open, because a server does not know it in advance.
at::Tensor Packed(const at::Tensor& out_in) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                             .typed<at::Tensor(const at::Tensor&, std::optional<c10::SymInt>)>();
  return op.call(out_in, std::nullopt);
}

at::Tensor PackedLinear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            std::string_view, c10::List<std::optional<at::Scalar>>,
                            std::optional<std::string_view>)>();
  return op.call(x, packed, bias, "none", c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

// A layer in the form that each contestant needs.
struct Layer {
  explicit Layer(Shape shape)
      : weight(at::randn({shape.in, shape.out}).mul_(1 / std::sqrt(static_cast<double>(shape.in)))),
        bias(at::randn({shape.out})),
        packed(Packed(weight.t().contiguous())),
        ours(weight.const_data_ptr<float>(), shape.in, shape.out, shape.out, 1,
             bias.const_data_ptr<float>()) {}

  at::Tensor weight, bias, packed;
  kernels::PackedMatrix ours;
};

struct Model {
  Model() {
    for (int block = 0; block < kBlocks; ++block)
      for (const Shape& shape : kShapes) layers.emplace_back(shape);
  }

  std::vector<Layer> layers;
};

// Inputs of a given number of rows, and outputs. The outputs of a layer are not the inputs of the
// next, since numbers would grow from layer to layer.
class Pass {
 public:
  Pass(std::shared_ptr<const Model> model, int64_t rows) : model_(std::move(model)), rows_(rows) {
    for (const Shape& shape : kShapes) {
      x_.push_back(at::randn({rows, shape.in}));
      y_.push_back(at::empty({rows, shape.out}));
    }
    // The outputs of the last block remain, so they are the ones that are checked.
    for (size_t i = 0; i < kShapes.size(); ++i)
      expected_.push_back(Exact(model_->layers[model_->layers.size() - kShapes.size() + i], x_[i]));
  }

  void Ours() {
    ForEachLayer([&](const Layer& layer, const at::Tensor& x, at::Tensor& y) {
      kernels::Multiply(layer.ours, {.x = {x.const_data_ptr<float>(), x.size(1)},
                                     .rows = rows_,
                                     .y = y.mutable_data_ptr<float>(),
                                     .y_stride = y.size(1)});
    });
  }

  void OneDnn() {
    ForEachLayer([](const Layer& layer, const at::Tensor& x, at::Tensor& y) {
      y = PackedLinear(x, layer.packed, layer.bias);
    });
  }

  void Mkl() {
    ForEachLayer([](const Layer& layer, const at::Tensor& x, at::Tensor& y) {
      at::addmm_out(y, layer.bias, x, layer.weight);
    });
  }

  double Error() {
    double largest = 0;
    for (size_t i = 0; i < kShapes.size(); ++i)
      largest = std::max(largest, TakeError(y_[i], expected_[i]));
    return largest;
  }

 private:
  template <class Body>
  void ForEachLayer(Body body) {
    for (size_t i = 0; i < model_->layers.size(); ++i)
      body(model_->layers[i], x_[i % kShapes.size()], y_[i % kShapes.size()]);
  }

  // Computes some of the rows, including the first and the last, in double precision. The tolerance
  // is a few times the rounding error of such long sums, and far less than one product.
  static std::vector<Expected> Exact(const Layer& layer, const at::Tensor& x) {
    constexpr double kTolerance = 2e-6;
    const int64_t count = std::min(kRowsChecked, x.size(0)), in = x.size(1),
                  out = layer.weight.size(1);
    const float* bias = layer.bias.const_data_ptr<float>();
    std::vector<Expected> rows;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = count == 1 ? 0 : i * (x.size(0) - 1) / (count - 1);
      std::vector<double> values(bias, bias + out), sizes(static_cast<size_t>(out), 0.0);
      for (int64_t k = 0; k < in; ++k) {
        const double input = x.const_data_ptr<float>()[row * in + k];
        const float* weights = layer.weight.const_data_ptr<float>() + k * out;
        for (int64_t o = 0; o < out; ++o) {
          values[o] += input * weights[o];
          sizes[o] += std::abs(input * weights[o]);
        }
      }
      for (double& size : sizes) size *= kTolerance;
      rows.push_back({row * out, std::move(values), std::move(sizes)});
    }
    return rows;
  }

  std::shared_ptr<const Model> model_;
  int64_t rows_;
  std::vector<at::Tensor> x_, y_;  // for each shape
  std::vector<std::vector<Expected>> expected_;
};

}  // namespace

std::vector<Case> LinearCases() {
  const auto model = std::make_shared<const Model>();
  double weights = 0;
  for (const Shape& shape : kShapes) weights += static_cast<double>(kBlocks * shape.in * shape.out);
  std::vector<Case> cases;
  for (const int64_t rows : kRows) {
    const auto pass = std::make_shared<Pass>(model, rows);
    const auto contestant = [&](std::string_view name, void (Pass::*run)()) {
      return Contestant{name, [pass, run] { (*pass.*run)(); }, [pass] { return pass->Error(); }};
    };
    cases.push_back({"M " + std::to_string(rows),
                     2 * static_cast<double>(rows) * weights,
                     sizeof(float) * weights,
                     {contestant("ours", &Pass::Ours), contestant("oneDNN", &Pass::OneDnn),
                      contestant("MKL", &Pass::Mkl)}});
  }
  return cases;
}

}  // namespace scalpel::bench
