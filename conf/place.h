// Place: where in the configuration something stands.
#pragma once

#include <string>
#include <vector>

namespace sluice::conf {

struct Place {
  int line = 0;  // from 1; 0: not in the file
  int column = 0;
  std::string override_name;  // what --set named, when the value came from there
};

// What is still talked about once the file has been read. What the file does not give stands where its table does.
struct Places {
  Place upstream;               // the url
  std::vector<Place> backends;  // the url of each
  std::vector<Place> policies;  // the table of each
};

}  // namespace sluice::conf
