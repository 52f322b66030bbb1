// NamedSql: finds the parameters between the quotes and comments, see named_sql.h.
#include "conf/named_sql.h"

#include <algorithm>

namespace sluice::conf {

namespace {

using Dialect = NamedSql::Dialect;

bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_of_name(char c) { return begins_name(c) || (c >= '0' && c <= '9'); }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Scanner {
 public:
  Scanner(std::string_view sql, Dialect dialect) : sql_(sql), dialect_(dialect) {}

  NamedSql run() {
    while (at_ < sql_.size()) {
      const std::size_t end = end_of_quoted();
      if (!begins_comment() && !is_space(sql_[at_])) look_at_shape();
      if (end != at_) {
        copy_to(end);
      } else if (sql_[at_] == ':') {
        take_colon();
      } else {
        if (out_.other.empty() && begins_other()) out_.other = sql_.substr(at_, end_of_name(at_ + 1) - at_);
        copy_to(is_of_name(sql_[at_]) ? end_of_name(at_) : at_ + 1);
      }
    }
    return std::move(out_);
  }

 private:
  bool is_at(std::size_t at, std::string_view text) const { return sql_.substr(at).starts_with(text); }

  // What is here is part of the statement.
  void look_at_shape() {
    out_.several = out_.several || ended_;
    ended_ = ended_ || sql_[at_] == ';';
    if (verb_over_ || sql_[at_] == '(') return;
    verb_over_ = true;
    for (std::size_t i = at_; i < sql_.size() && begins_name(sql_[i]); ++i) {
      const char c = sql_[i];
      out_.verb += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
  }

  // PostgreSQL has operators of '?' and '@', MySQL variables with an '@', and names may have a '$'.
  bool begins_other() const {
    switch (sql_[at_]) {
      case '?':
        return dialect_ != Dialect::postgresql;
      case '@':
        return dialect_ == Dialect::sqlite;
      case '$': {
        const char next = at_ + 1 < sql_.size() ? sql_[at_ + 1] : ' ';
        const bool numbered = next >= '0' && next <= '9';
        return !follows_name() && (dialect_ == Dialect::sqlite || (dialect_ == Dialect::postgresql && numbered));
      }
      default:
        return false;
    }
  }

  bool follows_name() const {
    if (at_ == 0) return false;
    const char c = sql_[at_ - 1];
    return is_of_name(c) || c == '$' || static_cast<unsigned char>(c) >= 0x80;
  }

  bool begins_comment() const {
    return is_at(at_, "--") || is_at(at_, "/*") || (sql_[at_] == '#' && dialect_ == Dialect::mysql);
  }

  void copy_to(std::size_t end) {
    out_.text += sql_.substr(at_, end - at_);
    at_ = end;
  }

  std::size_t end_of_name(std::size_t at) const {
    while (at < sql_.size() && is_of_name(sql_[at])) ++at;
    return at;
  }

  void take_colon() {
    if (is_at(at_, "::")) return copy_to(at_ + 2);
    const std::size_t end = end_of_name(at_ + 1);
    const bool is_parameter = end > at_ + 1 && begins_name(sql_[at_ + 1]);
    if (!is_parameter) return copy_to(at_ + 1);
    const std::string name(sql_.substr(at_ + 1, end - at_ - 1));
    at_ = end;
    if (dialect_ != Dialect::postgresql) {
      out_.names.push_back(name);
      out_.text += '?';
      return;
    }
    auto found = std::find(out_.names.begin(), out_.names.end(), name);
    if (found == out_.names.end()) found = out_.names.insert(out_.names.end(), name);
    out_.text += '$' + std::to_string(found - out_.names.begin() + 1);
  }

  // Where the quoted text or comment that begins here ends; here, when none begins.
  std::size_t end_of_quoted() const {
    const char c = sql_[at_];
    if (c == '\'') return end_of_quotes(at_, dialect_ == Dialect::mysql || follows_e());
    if (c == '"') return end_of_quotes(at_, dialect_ == Dialect::mysql);
    if (c == '`' && dialect_ != Dialect::postgresql) return end_of_quotes(at_, false);
    if (c == '[' && dialect_ == Dialect::sqlite) return after("]", at_);
    if (is_at(at_, "--") || (c == '#' && dialect_ == Dialect::mysql)) return after("\n", at_);
    if (is_at(at_, "/*")) return end_of_comment();
    if (c == '$' && dialect_ == Dialect::postgresql) return end_of_dollars();
    return at_;
  }

  // E'...': PostgreSQL's strings with backslashes.
  bool follows_e() const {
    if (dialect_ != Dialect::postgresql || at_ == 0 || (sql_[at_ - 1] != 'e' && sql_[at_ - 1] != 'E')) return false;
    return at_ == 1 || !is_of_name(sql_[at_ - 2]);
  }

  std::size_t end_of_quotes(std::size_t begin, bool backslashes) const {
    const char quote = sql_[begin];
    for (std::size_t i = begin + 1; i < sql_.size(); ++i) {
      if (backslashes && sql_[i] == '\\') {
        ++i;
      } else if (sql_[i] == quote) {
        if (i + 1 == sql_.size() || sql_[i + 1] != quote) return i + 1;
        ++i;  // doubled: a quote inside
      }
    }
    return sql_.size();
  }

  std::size_t after(std::string_view text, std::size_t from) const {
    const std::size_t found = sql_.find(text, from);
    return found == std::string_view::npos ? sql_.size() : found + text.size();
  }

  // PostgreSQL's comments nest.
  std::size_t end_of_comment() const {
    if (dialect_ != Dialect::postgresql) return after("*/", at_ + 2);
    int depth = 1;
    std::size_t i = at_ + 2;
    while (i < sql_.size() && depth > 0) {
      const bool opens = is_at(i, "/*");
      const bool closes = is_at(i, "*/");
      depth += opens ? 1 : closes ? -1 : 0;
      i += opens || closes ? 2 : 1;
    }
    return i;
  }

  // $tag$ ... $tag$
  std::size_t end_of_dollars() const {
    const std::size_t end = begins_name(sql_[std::min(at_ + 1, sql_.size() - 1)]) ? end_of_name(at_ + 1) : at_ + 1;
    if (end >= sql_.size() || sql_[end] != '$') return at_;
    return after(sql_.substr(at_, end + 1 - at_), end + 1);
  }

  const std::string_view sql_;
  const Dialect dialect_;
  std::size_t at_ = 0;
  bool verb_over_ = false;
  bool ended_ = false;  // by a ';'
  NamedSql out_;
};

}  // namespace

NamedSql name_parameters(std::string_view sql, NamedSql::Dialect dialect) { return Scanner(sql, dialect).run(); }

}  // namespace sluice::conf
