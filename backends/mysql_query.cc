// MysqlQuery: values to and from the binary protocol, see mysql_query.h.
#include "backends/mysql_query.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <mysql.h>
#include <utility>

#include "backends/mysql_errors.h"

namespace sluice::sql {

namespace {

constexpr std::size_t kShortText = 256;  // bytes that are received with the row; longer ones are fetched by themselves
constexpr std::size_t kPacketMargin = 512;  // what a packet has beside the parameters
constexpr unsigned kBinary = 63;            // the character set of bytes

std::string date_text(const MYSQL_TIME& at) {
  std::array<char, 48> out{};
  std::snprintf(out.data(), out.size(), "%04u-%02u-%02u", at.year, at.month, at.day);
  return out.data();
}

std::string time_text(const MYSQL_TIME& at) {
  std::array<char, 64> out{};
  const unsigned hours = at.hour + at.day * 24;
  std::snprintf(out.data(), out.size(), "%s%02u:%02u:%02u", at.neg != 0 ? "-" : "", hours, at.minute, at.second);
  std::string text = out.data();
  if (at.second_part == 0) return text;
  std::snprintf(out.data(), out.size(), ".%06lu", at.second_part);
  return text + out.data();
}

std::string timestamp_text(MYSQL_TIME at) {
  std::string date = date_text(at);
  at.day = 0;
  return date + "T" + time_text(at);
}

// The double that a 32-bit number stands for when it is printed: 0.1 rather than 0.10000000149.
double widened(float number) {
  std::array<char, 32> out{};
  const auto end = std::to_chars(out.data(), out.data() + out.size(), number).ptr;
  double wide = number;
  std::from_chars(out.data(), end, wide);
  return wide;
}

Value integer_value(std::int64_t number, bool is_unsigned) {
  if (is_unsigned && number < 0) return std::to_string(static_cast<std::uint64_t>(number));
  return number;
}

Value bit_value(const std::string& bytes) {
  std::uint64_t number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<unsigned char>(byte);
  return integer_value(static_cast<std::int64_t>(number), true);
}

// MariaDB's JSON is text that it calls JSON in passing, and it has a type for UUIDs that is text on the way.
ColumnType type_of_text(const MYSQL_FIELD& field) {
  const auto is = [&](mariadb_field_attr_t attribute, std::string_view name) {
    MARIADB_CONST_STRING found{};
    return mariadb_field_attr(&found, &field, attribute) == 0 && std::string_view(found.str, found.length) == name;
  };
  if (is(MARIADB_FIELD_ATTR_FORMAT_NAME, "json")) return ColumnType::json;
  if (is(MARIADB_FIELD_ATTR_DATA_TYPE_NAME, "uuid")) return ColumnType::uuid;
  return field.charsetnr == kBinary ? ColumnType::bytes : ColumnType::text;
}

ColumnType type_of(const MYSQL_FIELD& field) {
  switch (field.type) {
    case MYSQL_TYPE_TINY:
      return field.length == 1 && (field.flags & UNSIGNED_FLAG) == 0 ? ColumnType::boolean : ColumnType::integer;
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_BIT:
      return ColumnType::integer;
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DOUBLE:
      return ColumnType::real;
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:
      return ColumnType::decimal;
    case MYSQL_TYPE_DATE:
      return ColumnType::date;
    case MYSQL_TYPE_TIME:
      return ColumnType::time;
    case MYSQL_TYPE_DATETIME:
      return ColumnType::timestamp;
    case MYSQL_TYPE_TIMESTAMP:
      return ColumnType::timestamptz;
    case MYSQL_TYPE_JSON:
      return ColumnType::json;
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_VAR_STRING:
    case MYSQL_TYPE_STRING:
    case MYSQL_TYPE_VARCHAR:
    case MYSQL_TYPE_GEOMETRY:
      return type_of_text(field);
    default:
      return ColumnType::text;
  }
}

std::vector<Column> columns_of(MYSQL_STMT* statement) {
  std::vector<Column> columns;
  MYSQL_RES* const description = mysql_stmt_result_metadata(statement);
  if (description == nullptr) return columns;
  const MYSQL_FIELD* const fields = mysql_fetch_fields(description);
  for (unsigned i = 0; i < mysql_num_fields(description); ++i) {
    Column column;
    column.name = fields[i].name;
    column.type = type_of(fields[i]);
    columns.push_back(std::move(column));
  }
  mysql_free_result(description);
  return columns;
}

struct Field {
  enum_field_types type;
  bool is_unsigned;
  bool is_bytes;
};

}  // namespace

// What is bound: the driver keeps pointers, so nothing here moves between bind() and the execution.
struct MysqlQuery::Parameters {
  std::vector<MYSQL_BIND> binds;
  std::deque<unsigned long> lengths;
  std::deque<std::uint64_t> integers;
  std::size_t bytes = 0;

  void add(enum_field_types type, const void* buffer, bool is_unsigned = false) {
    MYSQL_BIND bind{};
    bind.buffer_type = type;
    bind.buffer = const_cast<void*>(buffer);  // the driver only reads parameters
    bind.is_unsigned = is_unsigned ? 1 : 0;
    binds.push_back(bind);
    bytes += 9;
  }
  void add_text(enum_field_types type, std::string_view text) {
    add(type, text.data());
    lengths.push_back(text.size());
    binds.back().length = &lengths.back();
    binds.back().buffer_length = text.size();
    bytes += text.size();
  }
  void add_integer(std::uint64_t number, bool is_unsigned) {
    integers.push_back(number);
    add(MYSQL_TYPE_LONGLONG, &integers.back(), is_unsigned);
  }
  void add_for(const std::string& text, const Column& column);
};

void MysqlQuery::Parameters::add_for(const std::string& text, const Column& column) {
  std::string_view view = text;
  switch (column.type) {
    case ColumnType::integer: {  // above the range of Value's own integers
      std::uint64_t number = 0;
      std::from_chars(text.data(), text.data() + text.size(), number);
      return add_integer(number, true);
    }
    case ColumnType::decimal:
      return add_text(MYSQL_TYPE_NEWDECIMAL, view);
    case ColumnType::timestamptz:
      if (view.ends_with('Z')) view.remove_suffix(1);  // the session is in UTC
      return add_text(MYSQL_TYPE_STRING, view);
    case ColumnType::real:
    case ColumnType::text:
    case ColumnType::boolean:
    case ColumnType::date:
    case ColumnType::timestamp:
    case ColumnType::time:
    case ColumnType::uuid:
    case ColumnType::json:
    case ColumnType::bytes:
      return add_text(MYSQL_TYPE_STRING, view);
  }
}

// The current row, in buffers of the columns' types.
struct MysqlQuery::Rows {
  std::vector<Field> fields;
  std::vector<MYSQL_BIND> binds;
  struct Cell {
    std::int64_t integer = 0;
    double real = 0;
    float single = 0;
    MYSQL_TIME time{};
    std::array<char, kShortText> buffer;
    unsigned long length = 0;
    my_bool is_null = 0;
    std::string text;
  };
  std::vector<Cell> cells;

  void add(const MYSQL_FIELD& field) {
    const bool is_bytes = field.charsetnr == kBinary;
    fields.push_back({field.type, (field.flags & UNSIGNED_FLAG) != 0, is_bytes});
  }
  void bind();
  bool is_text(std::size_t i) const;
  Value value(std::size_t i) const;
};

bool MysqlQuery::Rows::is_text(std::size_t i) const {
  switch (binds[i].buffer_type) {
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_DOUBLE:
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DATE:
    case MYSQL_TYPE_TIME:
    case MYSQL_TYPE_DATETIME:
      return false;
    default:
      return true;
  }
}

void MysqlQuery::Rows::bind() {
  cells.resize(fields.size());
  binds.resize(fields.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    Cell& cell = cells[i];
    MYSQL_BIND& bind = binds[i];
    std::memset(&bind, 0, sizeof bind);
    bind.is_null = &cell.is_null;
    bind.length = &cell.length;
    switch (fields[i].type) {
      case MYSQL_TYPE_TINY:
      case MYSQL_TYPE_SHORT:
      case MYSQL_TYPE_INT24:
      case MYSQL_TYPE_LONG:
      case MYSQL_TYPE_LONGLONG:
        bind.buffer_type = MYSQL_TYPE_LONGLONG;
        bind.buffer = &cell.integer;
        bind.is_unsigned = fields[i].is_unsigned ? 1 : 0;
        break;
      case MYSQL_TYPE_FLOAT:
        bind.buffer_type = MYSQL_TYPE_FLOAT;
        bind.buffer = &cell.single;
        break;
      case MYSQL_TYPE_DOUBLE:
        bind.buffer_type = MYSQL_TYPE_DOUBLE;
        bind.buffer = &cell.real;
        break;
      case MYSQL_TYPE_DATE:
      case MYSQL_TYPE_TIME:
      case MYSQL_TYPE_DATETIME:
      case MYSQL_TYPE_TIMESTAMP:
        bind.buffer_type = fields[i].type == MYSQL_TYPE_TIMESTAMP ? MYSQL_TYPE_DATETIME : fields[i].type;
        bind.buffer = &cell.time;
        bind.buffer_length = sizeof cell.time;
        break;
      default:
        bind.buffer_type = MYSQL_TYPE_STRING;
        bind.buffer = cell.buffer.data();
        bind.buffer_length = cell.buffer.size();
        break;
    }
  }
}

Value MysqlQuery::Rows::value(std::size_t i) const {
  const Cell& cell = cells[i];
  if (cell.is_null != 0) return {};
  switch (fields[i].type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
      return integer_value(cell.integer, fields[i].is_unsigned);
    case MYSQL_TYPE_FLOAT:
      return widened(cell.single);
    case MYSQL_TYPE_DOUBLE:
      return cell.real;
    case MYSQL_TYPE_DATE:
      return date_text(cell.time);
    case MYSQL_TYPE_TIME:
      return time_text(cell.time);
    case MYSQL_TYPE_DATETIME:
      return timestamp_text(cell.time);
    case MYSQL_TYPE_TIMESTAMP:
      return timestamp_text(cell.time) + "Z";
    case MYSQL_TYPE_BIT:
      return bit_value(cell.text);
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_VAR_STRING:
    case MYSQL_TYPE_STRING:
    case MYSQL_TYPE_VARCHAR:
    case MYSQL_TYPE_GEOMETRY:
      if (fields[i].is_bytes) return Blob{cell.text};
      return cell.text;
    default:
      return cell.text;
  }
}

MysqlQuery::MysqlQuery(MysqlConnection& connection, std::string_view sql, Lock lock)
    : connection_(connection), sql_(sql), lock_(lock), parameters_(std::make_unique<Parameters>()) {}

MysqlQuery::~MysqlQuery() {
  if (rows_ != nullptr) mysql_stmt_free_result(statement_);
}

void MysqlQuery::bind(std::int64_t value) { parameters_->add_integer(static_cast<std::uint64_t>(value), false); }

void MysqlQuery::bind_text(std::string_view text) { parameters_->add_text(MYSQL_TYPE_STRING, text); }

void MysqlQuery::bind_bytes(std::string_view bytes) { parameters_->add_text(MYSQL_TYPE_BLOB, bytes); }

void MysqlQuery::bind(const Value& value, const Column* column) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return parameters_->add(MYSQL_TYPE_LONGLONG, integer);
  if (const auto* real = std::get_if<double>(&value)) return parameters_->add(MYSQL_TYPE_DOUBLE, real);
  if (const auto* blob = std::get_if<Blob>(&value)) return bind_bytes(blob->bytes);
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (column != nullptr) return parameters_->add_for(*text, *column);
    return parameters_->add_text(MYSQL_TYPE_STRING, *text);
  }
  parameters_->add(MYSQL_TYPE_NULL, nullptr);
}

// Of what comes between rows only the connection knows the error.
void MysqlQuery::fail_with_statement() {
  if (mysql_stmt_errno(statement_) == 0) {
    MYSQL* const mysql = connection_.mysql_;
    error_ = connection_.failure(mysql_errno(mysql), mysql_sqlstate(mysql), mysql_error(mysql));
    return;
  }
  error_ =
      connection_.failure(mysql_stmt_errno(statement_), mysql_stmt_sqlstate(statement_), mysql_stmt_error(statement_));
}

bool MysqlQuery::execute_once() {
  const MysqlConnection::Prepared* const prepared = connection_.prepare(sql_, error_);
  if (prepared == nullptr) return true;
  statement_ = prepared->statement;
  if (mysql_stmt_param_count(statement_) != parameters_->binds.size()) {
    error_ = connection_.error(Failure::schema, "07001", "the statement has another number of parameters");
    return true;
  }
  if (!parameters_->binds.empty()) mysql_stmt_bind_param(statement_, parameters_->binds.data());
  if (mysql_stmt_execute(statement_) == 0) return true;
  const unsigned code = mysql_stmt_errno(statement_);
  if (code == kMysqlUnknownStatement || code == kMysqlPrepareAgain) return false;
  fail_with_statement();
  return true;
}

void MysqlQuery::execute() {
  executed_ = true;
  const std::size_t size = parameters_->bytes + kPacketMargin;
  if (connection_.packet_max() != 0 && size > connection_.packet_max()) {
    error_ = connection_.error(Failure::refused, "22001",
                               "the values have " + std::to_string(parameters_->bytes) +
                                   " bytes, more than the server's max_allowed_packet (" +
                                   std::to_string(connection_.packet_max()) + ") lets through");
    return;
  }
  if (lock_ == Lock::waits) sql_.insert(0, connection_.lock_limit(parameters_->bytes));
  // The server may have forgotten the statement; that says nothing about the transaction.
  if (!execute_once()) {
    connection_.forget(sql_);
    statement_ = nullptr;
    if (!execute_once()) fail_with_statement();
  }
  if (!ok()) return;
  changes_ = static_cast<std::int64_t>(mysql_stmt_affected_rows(statement_));
  receive();
}

void MysqlQuery::receive() {
  MYSQL_RES* const description = mysql_stmt_result_metadata(statement_);
  if (description == nullptr) return;
  rows_ = std::make_unique<Rows>();
  const MYSQL_FIELD* const fields = mysql_fetch_fields(description);
  for (unsigned i = 0; i < mysql_num_fields(description); ++i) rows_->add(fields[i]);
  mysql_free_result(description);
  rows_->bind();
  const bool bound = mysql_stmt_bind_result(statement_, rows_->binds.data()) == 0;
  if (!bound || (!streams_ && mysql_stmt_store_result(statement_) != 0)) {
    fail_with_statement();
    // The driver would go on waiting for rows when the statement is next used.
    connection_.forget(sql_);
    statement_ = nullptr;
    rows_.reset();
    return;
  }
  changes_ = static_cast<std::int64_t>(mysql_stmt_num_rows(statement_));
}

bool MysqlQuery::next() {
  if (!executed_ && ok()) execute();
  if (!ok() || rows_ == nullptr) return false;
  const int code = mysql_stmt_fetch(statement_);
  if (code == MYSQL_NO_DATA) return false;
  if (code == 1) {
    fail_with_statement();
    return false;
  }
  for (std::size_t i = 0; i < rows_->cells.size(); ++i) {
    if (!rows_->is_text(i) || rows_->cells[i].is_null != 0) continue;
    Rows::Cell& cell = rows_->cells[i];
    if (cell.length <= cell.buffer.size()) {
      cell.text.assign(cell.buffer.data(), cell.length);
      continue;
    }
    cell.text.resize(cell.length);
    MYSQL_BIND bind = rows_->binds[i];
    bind.buffer = cell.text.data();
    bind.buffer_length = cell.text.size();
    mysql_stmt_fetch_column(statement_, &bind, static_cast<unsigned>(i), 0);
  }
  return true;
}

// A procedure may have several results.
Error MysqlQuery::run() {
  while (next()) {
  }
  while (ok() && statement_ != nullptr && mysql_stmt_more_results(statement_) != 0) {
    if (mysql_stmt_next_result(statement_) > 0) fail_with_statement();
  }
  return error_;
}

bool MysqlQuery::ok() const { return error_.failure == Failure::none; }
Error MysqlQuery::error() const { return error_; }
int MysqlQuery::columns() const { return rows_ == nullptr ? 0 : static_cast<int>(rows_->fields.size()); }
std::vector<Column> MysqlQuery::described() const {
  return statement_ == nullptr ? std::vector<Column>() : columns_of(statement_);
}
Value MysqlQuery::value(int column) const { return rows_->value(static_cast<std::size_t>(column)); }

Row MysqlQuery::row() const {
  Row values;
  values.reserve(rows_->fields.size());
  for (std::size_t i = 0; i < rows_->fields.size(); ++i) values.push_back(rows_->value(i));
  return values;
}

std::int64_t MysqlQuery::integer(int column) const {
  const Value found = value(column);
  const auto* const integer = std::get_if<std::int64_t>(&found);
  return integer == nullptr ? 0 : *integer;
}

std::string MysqlQuery::text(int column) const {
  const Value found = value(column);
  if (const auto* const blob = std::get_if<Blob>(&found)) return blob->bytes;
  const auto* const text = std::get_if<std::string>(&found);
  return text == nullptr ? std::string() : *text;
}

bool MysqlQuery::is_null(int column) const { return rows_->cells[static_cast<std::size_t>(column)].is_null != 0; }

Error mysql_describe_statement(MysqlConnection& connection, std::string_view sql, std::size_t parameters,
                               std::vector<Column>& columns) {
  Error error;
  const MysqlConnection::Prepared* const prepared = connection.prepare(sql, error);
  if (prepared == nullptr) return error;
  if (mysql_stmt_param_count(prepared->statement) != parameters) {
    return connection.error(Failure::schema, "07001", "the statement has another number of parameters");
  }
  columns = columns_of(prepared->statement);
  return {};
}

}  // namespace sluice::sql
