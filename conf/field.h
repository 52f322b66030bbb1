// Field: one key of a configuration section: how it is read, how it is printed, which policies may have it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "conf/node.h"
#include "conf/reader.h"
#include "conf/text.h"
#include "conf/units.h"

namespace sluice::conf {

// Sets of policies, by what they do and by their kind of value. Other sections leave them alone.
using Modes = std::uint8_t;
constexpr Modes kCacheAside = 1, kWriteThrough = 2, kWriteBehind = 4, kCounter = 8, kEveryMode = 15;
constexpr Modes kWriting = kWriteThrough | kWriteBehind, kFilling = kCacheAside | kWriting;
using Values = std::uint8_t;
constexpr Values kJson = 1, kHash = 2, kRaw = 4, kCounterValue = 8, kEveryValue = 15;

// 0: the policy does nothing.
Modes mode_of(const PolicyOptions& policy);
Values value_of(const PolicyOptions& policy);

template <class Options>
struct Field {
  std::string_view name;
  std::function<void(const Node&, Options&, Reader&)> read;  // leaves the options alone after a mistake
  std::function<std::string(const Options&)> print;          // as TOML; empty: nothing to say
  Modes modes = kEveryMode;
  Values values = kEveryValue;
  bool required = false;      // it, or its twin NAME_file
  std::string_view unless{};  // required: but not beside this key

  Field in(Modes these) && {
    modes = these;
    return std::move(*this);
  }
  Field of(Values these) && {
    values = these;
    return std::move(*this);
  }
  Field must(std::string_view unless_given = {}) && {
    required = true;
    unless = unless_given;
    return std::move(*this);
  }
};

template <class Options>
using Fields = std::vector<Field<Options>>;

// The keys of each section, in the order of the documentation.
const Fields<ProxyOptions>& proxy_fields();
const Fields<UpstreamOptions>& upstream_fields();
const Fields<AdminOptions>& admin_fields();
const Fields<BackendOptions>& backend_fields();
const Fields<PolicyOptions>& policy_fields();

constexpr std::string_view kRedacted = "<redacted>";

// --- Fields that are one member of their struct.

template <class Options>
Field<Options> duration_field(std::string_view name, Duration Options::*member, Duration min) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto value = reader.duration(node, min)) options.*member = *value;
          },
          [=](const Options& options) { return quote(format_duration(options.*member)); }};
}

template <class Options>
Field<Options> size_field(std::string_view name, std::size_t Options::*member, std::size_t min) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto value = reader.size(node, min)) options.*member = *value;
          },
          [=](const Options& options) { return quote(format_size(options.*member)); }};
}

template <class Options, class Integer>
Field<Options> integer_field(std::string_view name, Integer Options::*member, std::int64_t min, std::int64_t max) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto value = reader.integer(node, min, max)) options.*member = static_cast<Integer>(*value);
          },
          [=](const Options& options) { return std::to_string(options.*member); }};
}

template <class Options>
Field<Options> fraction_field(std::string_view name, double Options::*member, double max) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto value = reader.fraction(node, max)) options.*member = *value;
          },
          [=](const Options& options) { return format_fraction(options.*member); }};
}

template <class Options>
Field<Options> boolean_field(std::string_view name, bool Options::*member) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto value = reader.boolean(node)) options.*member = *value;
          },
          [=](const Options& options) { return std::string(options.*member ? "true" : "false"); }};
}

// Not empty when given; empty means that it was not.
template <class Options>
Field<Options> text_field(std::string_view name, std::string Options::*member) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto value = reader.name(node)) options.*member = *value;
          },
          [=](const Options& options) { return (options.*member).empty() ? "" : quote(options.*member); }};
}

std::string print_names(const std::vector<std::string>& names);

template <class Options>
Field<Options> names_field(std::string_view name, std::vector<std::string> Options::*member) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto value = reader.names(node)) options.*member = *value;
          },
          [=](const Options& options) { return print_names(options.*member); }};
}

// `choices` are the names of the enumerators, in their order.
template <class Options, class Enum>
Field<Options> choice_field(std::string_view name, Enum Options::*member,
                            const std::vector<std::string_view>& choices) {
  return {name,
          [=](const Node& node, Options& options, Reader& reader) {
            if (const auto index = reader.choice(node, choices)) options.*member = static_cast<Enum>(*index);
          },
          [=](const Options& options) { return quote(choices[static_cast<std::size_t>(options.*member)]); }};
}

// `name` and its twin `name_file`.
template <class Options>
void append_secret_fields(Fields<Options>& fields, std::string_view name, std::string_view file_name,
                          std::string Options::*member) {
  fields.push_back({name,
                    [=](const Node& node, Options& options, Reader& reader) {
                      const auto value = reader.name(node);
                      if (value && !(options.*member).empty()) reader.mistake(node, "the url has one already");
                      if (value) options.*member = *value;
                    },
                    [=](const Options& options) { return (options.*member).empty() ? "" : quote(kRedacted); }});
  fields.push_back({file_name,
                    [=](const Node& node, Options& options, Reader& reader) {
                      const auto value = reader.secret_file(node);
                      if (value && !(options.*member).empty()) reader.mistake(node, "the url has one already");
                      if (value) options.*member = *value;
                    },
                    [](const Options&) { return std::string(); }});
}

}  // namespace sluice::conf
