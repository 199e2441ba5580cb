#include "vectors.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/delimited_message_util.h>

#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

#include "scalpel/v1/run.pb.h"
#include "tensors.h"

namespace fs = std::filesystem;
using scalpel::v1::RunResponse;

namespace {

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!(content << file.rdbuf())) throw std::runtime_error(path.string() + ": cannot be read");
  return content.str();
}

// The lines of a stream of messages that each follow their length.
std::string Assemble(const std::string& data) {
  google::protobuf::io::ArrayInputStream input(data.data(), static_cast<int>(data.size()));
  Assembler assembler;
  std::string lines;
  bool at_end = false;
  try {
    while (true) {
      RunResponse response;
      if (!google::protobuf::util::ParseDelimitedFromZeroCopyStream(&response, &input, &at_end)) {
        break;
      }
      if (!response.has_tensor_chunk()) continue;
      if (const auto line = assembler.Add(response.tensor_chunk())) lines += *line + "\n";
    }
    if (!at_end) throw std::runtime_error("a message cannot be read");
    assembler.Finish();
  } catch (const BrokenStream& broken) {
    std::cerr << broken.what() << "\n";
    lines += "broken\n";
  }
  return lines;
}

}  // namespace

void CheckVectors(const fs::path& folder) {
  std::set<fs::path> streams;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".bin") streams.insert(entry.path());
  }
  if (streams.empty()) throw std::runtime_error(folder.string() + ": there are no streams");
  for (const fs::path& stream : streams) {
    const std::string lines = Assemble(Read(stream));
    std::cout << "stream " << stream.stem().string() << "\n" << lines;
    if (lines != Read(fs::path(stream).replace_extension(".txt"))) {
      throw std::runtime_error(stream.string() + ": this is not what the .txt file says");
    }
  }
  std::cout << streams.size() << " streams agree\n";
}
