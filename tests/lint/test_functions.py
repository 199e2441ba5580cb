"""Where functions begin and end."""

from tests.lint.functions import Function, functions

_CPP = r"""
#define OPEN {
namespace a {
namespace {
constexpr int kTable[] = {
    1, 2,
};
const char* kText = R"x(void NotOne() {)x";
const auto kLambda = [](int x) {
  return x;
};

// int Comment() {
template <typename T, typename U = std::vector<T>>
int Long(const std::vector<T>& given,
         std::function<int(int)> f = {}) {
  if (given.empty()) {
    for (char c : "}") Use('{', 1'000);
  }
  auto inner = [&]() {
    return 1;
  };
  return f(1);
}

}  // namespace

struct Plain { int x = 0; };

class Thing : public Base {
 public:
  explicit Thing(int a) : a_(a), b_{a} {}
  int get() const { return a_; }
  Thing& operator=(const Thing& other) {
    a_ = other.a_;
    return *this;
  }

 private:
  int a_ = 1, b_{2};
};

TEST_F(Suite, Case) {
  EXPECT_EQ(1, 1);
}
}  // namespace a
"""


def test_cpp() -> None:
    assert functions(_CPP, "C++") == [
        Function("Long", 15, 10),
        Function("Thing", 32, 1),
        Function("get", 33, 1),
        Function("operator=", 34, 4),
        Function("TEST_F", 43, 3),
    ]


_PYTHON = """
@decorated
def outer(
    x: int,
) -> int:
    def inner() -> int:
        return x

    return inner()


class A:
    async def method(self) -> None:
        pass
"""


def test_python() -> None:
    assert sorted(functions(_PYTHON, "Python")) == [
        Function("inner", 6, 2),
        Function("method", 13, 2),
        Function("outer", 3, 7),
    ]


_BASH = """
one() { echo; }
many() {
  if true; then
    echo
  fi
}
own_shell() (
  cd /
)
"""


def test_bash() -> None:
    assert functions(_BASH, "bash") == [
        Function("one", 2, 1),
        Function("many", 3, 5),
        Function("own_shell", 8, 3),
    ]
