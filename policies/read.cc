// Read, see read.h.
#include "policies/read.h"

#include <array>
#include <cassert>

#include "policies/replies.h"

namespace sluice::policies {
namespace {

using conf::ValueMode;
using resp::Absence;
using resp::CommandId;

enum class Values : std::uint8_t { strings, hash, any };

// --- One command each: the value is there and of the right type

// Null: there is no field of this name.
const std::string* find_field(const Copy& copy, const std::string& name) {
  for (std::size_t i = 0; i + 1 < copy.fields.size(); i += 2) {
    if (copy.fields[i] == name) return &copy.fields[i + 1];
  }
  return nullptr;
}

void append_found(std::string& out, const std::string* value, resp::Version version) {
  if (value == nullptr) return resp::append_nil(out, version);
  resp::append_bulk(out, *value);
}

void append_size(std::string& out, std::size_t size) { resp::append_integer(out, static_cast<std::int64_t>(size)); }

void append_string(std::string& out, const Copy& copy, const Reading&) { resp::append_bulk(out, copy.text); }

void append_strlen(std::string& out, const Copy& copy, const Reading&) { append_size(out, copy.text.size()); }

void append_fields(std::string& out, const Copy& copy, const Reading& reading) {
  resp::append_map_header(out, copy.fields.size() / 2, reading.version);
  for (const std::string& text : copy.fields) resp::append_bulk(out, text);
}

void append_every_other(std::string& out, const Copy& copy, std::size_t first) {
  resp::append_array_header(out, copy.fields.size() / 2);
  for (std::size_t i = first; i < copy.fields.size(); i += 2) resp::append_bulk(out, copy.fields[i]);
}

void append_names(std::string& out, const Copy& copy, const Reading&) { append_every_other(out, copy, 0); }

void append_values(std::string& out, const Copy& copy, const Reading&) { append_every_other(out, copy, 1); }

void append_hlen(std::string& out, const Copy& copy, const Reading&) { append_size(out, copy.fields.size() / 2); }

void append_field(std::string& out, const Copy& copy, const Reading& reading) {
  append_found(out, find_field(copy, reading.args[2]), reading.version);
}

void append_some_fields(std::string& out, const Copy& copy, const Reading& reading) {
  resp::append_array_header(out, reading.args.size() - 2);
  for (std::size_t i = 2; i < reading.args.size(); ++i) {
    append_found(out, find_field(copy, reading.args[i]), reading.version);
  }
}

void append_hexists(std::string& out, const Copy& copy, const Reading& reading) {
  resp::append_integer(out, find_field(copy, reading.args[2]) == nullptr ? 0 : 1);
}

void append_hstrlen(std::string& out, const Copy& copy, const Reading& reading) {
  const std::string* const value = find_field(copy, reading.args[2]);
  append_size(out, value == nullptr ? 0 : value->size());
}

void append_one(std::string& out, const Copy&, const Reading&) { resp::append_integer(out, 1); }

void append_type(std::string& out, const Copy&, const Reading& reading) {
  resp::append_status(out, reading.mode == ValueMode::hash ? "hash" : "string");
}

// Of a row whose copy could not be kept.
void append_no_expiry(std::string& out, const Copy&, const Reading&) { resp::append_integer(out, -1); }

// --- The table

struct Entry {
  CommandId command;
  Values values;
  Absence absence;
  void (*append)(std::string& out, const Copy& copy, const Reading& reading);
};

constexpr std::array kEntries{
#define READ(command, values, absence, append) Entry{CommandId::command, values, absence, append},
#include "policies/reads.def"
#undef READ
};

// For every command its place in kEntries: a read that is forwarded looks here.
constexpr std::uint8_t kNone = 255;
constexpr auto kPlaces = [] {
  std::array<std::uint8_t, static_cast<std::size_t>(CommandId::count)> places{};
  places.fill(kNone);
  for (std::size_t i = 0; i < kEntries.size(); ++i) {
    places[static_cast<std::size_t>(kEntries[i].command)] = static_cast<std::uint8_t>(i);
  }
  return places;
}();

// Of a command that is filled.
const Entry& entry_of(CommandId command) {
  const std::uint8_t place = kPlaces[static_cast<std::size_t>(command)];
  assert(place != kNone);
  return kEntries[place];
}

bool fits(Values values, ValueMode mode) {
  return values == Values::any || (values == Values::hash) == (mode == ValueMode::hash);
}

// Redis says that the key holds another type of value than the policy's.
bool is_foreign(const Answer& answer) {
  return answer.kind == Answer::Kind::failed && answer.error.starts_with("WRONGTYPE");
}

void append_absent(std::string& out, const Entry& entry, const Reading& reading) {
  switch (entry.absence) {
    case Absence::nil:
    case Absence::some_nil:
      return resp::append_nil(out, reading.version);
    case Absence::zero:
    case Absence::fewer:
      return resp::append_integer(out, 0);
    case Absence::none:
      return resp::append_status(out, "none");
    case Absence::no_key:
      return resp::append_integer(out, -2);
    case Absence::empty:
      if (entry.command == CommandId::hgetall) return resp::append_map_header(out, 0, reading.version);
      return resp::append_array_header(out, 0);
    case Absence::all_nil:
      resp::append_array_header(out, reading.args.size() - 2);
      for (std::size_t i = 2; i < reading.args.size(); ++i) resp::append_nil(out, reading.version);
  }
}

Finish finish_one(const Entry& entry, const Reading& reading, const Answer& answer) {
  Finish finish;
  if (answer.kind == Answer::Kind::failed) {
    const bool would_be = entry.values != Values::any && fits(entry.values, reading.mode);
    if (!is_foreign(answer) || would_be) return finish_error(answer.error, answer.close);
    append_absent(finish.reply, entry, reading);  // what Redis has said of it stands
  } else if (answer.kind == Answer::Kind::absent) {
    append_absent(finish.reply, entry, reading);
  } else if (!fits(entry.values, reading.mode)) {
    return finish_error(kWrongType);
  } else {
    entry.append(finish.reply, answer.copy, reading);
  }
  return finish;
}

const Answer* find_failure(const std::vector<const Answer*>& answers) {
  for (const Answer* answer : answers) {
    if (ends_read(*answer)) return answer;
  }
  return nullptr;
}

Finish finish_mget(const Reading& reading, const std::vector<const Answer*>& answers) {
  Finish finish;
  resp::append_array_header(finish.reply, answers.size());
  for (const Answer* answer : answers) {
    append_found(finish.reply, answer->kind == Answer::Kind::value ? &answer->copy.text : nullptr, reading.version);
  }
  return finish;
}

Finish finish_exists(const std::vector<const Answer*>& answers) {
  std::int64_t there = 0;
  for (const Answer* answer : answers) there += answer->kind == Answer::Kind::absent ? 0 : 1;
  return finish_integer(there);
}

}  // namespace

bool is_filled(ValueMode mode, CommandId command) {
  const bool read = kPlaces[static_cast<std::size_t>(command)] != kNone;
  return read && (command != CommandId::mget || mode != ValueMode::hash);
}

Absence absence_of(CommandId command, std::size_t words) {
  return command == CommandId::exists && words > 2 ? Absence::fewer : entry_of(command).absence;
}

bool reads_several(CommandId command) { return command == CommandId::mget || command == CommandId::exists; }

bool ends_read(const Answer& answer) { return answer.kind == Answer::Kind::failed && !is_foreign(answer); }

bool reads_fields(CommandId command) {
  return command == CommandId::hget || command == CommandId::hmget || command == CommandId::hexists ||
         command == CommandId::hstrlen;
}

bool asks_redis(CommandId command, const Answer& answer) {
  if (entry_of(command).absence == Absence::no_key) return answer.kind == Answer::Kind::value || is_foreign(answer);
  return command == CommandId::type && is_foreign(answer);
}

Finish finish_read(const Reading& reading, const std::vector<const Answer*>& answers) {
  if (!reads_several(reading.command.id)) return finish_one(entry_of(reading.command.id), reading, *answers[0]);
  if (const Answer* failure = find_failure(answers)) return finish_error(failure->error, failure->close);
  return reading.command.id == CommandId::mget ? finish_mget(reading, answers) : finish_exists(answers);
}
}  // namespace sluice::policies
