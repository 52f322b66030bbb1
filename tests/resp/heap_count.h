// Heap count: what operator new has handed out in this test binary.
#pragma once

#include <cstddef>

namespace sluice::resp {

std::size_t heap_allocations();  // so far
std::size_t heap_bytes();        // not yet given back

}  // namespace sluice::resp
