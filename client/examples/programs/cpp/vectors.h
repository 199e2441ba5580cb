// Checks the assembly of tensors against the streams in proto/vectors.
#pragma once

#include <filesystem>

// Prints each stream's lines. Throws if one differs from what its .txt file says.
void CheckVectors(const std::filesystem::path& folder);
