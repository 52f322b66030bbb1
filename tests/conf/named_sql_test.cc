// Named parameters in SQL of the user's own.
#include "conf/named_sql.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::conf {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Dialect = NamedSql::Dialect;

TEST(NamedSql, APostgresqlParameterKeepsItsNumberWhenItComesAgain) {
  const NamedSql sql = name_parameters("UPDATE t SET a = :a, b = :b WHERE a < :a", Dialect::postgresql);
  EXPECT_EQ(sql.text, "UPDATE t SET a = $1, b = $2 WHERE a < $1");
  EXPECT_THAT(sql.names, ElementsAre("a", "b"));
}

TEST(NamedSql, ElsewhereEveryParameterIsAQuestionMarkOfItsOwn) {
  const NamedSql sql = name_parameters("UPDATE t SET a = :a, b = :b2 WHERE a < :a", Dialect::mysql);
  EXPECT_EQ(sql.text, "UPDATE t SET a = ?, b = ? WHERE a < ?");
  EXPECT_THAT(sql.names, ElementsAre("a", "b2", "a"));
}

void expect_untouched(const std::string& sql, Dialect dialect) {
  const NamedSql named = name_parameters(sql, dialect);
  EXPECT_EQ(named.text, sql);
  EXPECT_THAT(named.names, IsEmpty()) << sql;
}

TEST(NamedSql, NothingInsideQuotesOrCommentsIsAParameter) {
  for (const Dialect dialect : {Dialect::sqlite, Dialect::postgresql, Dialect::mysql}) {
    expect_untouched("SELECT ':a', 'it''s :a', \"col:a\", \"x\"\":a\"", dialect);
    expect_untouched("SELECT 1 -- :a\n/* :b */ FROM t", dialect);
    expect_untouched("SELECT ':a", dialect);
    expect_untouched("SELECT /* :a", dialect);
  }
  expect_untouched(R"(SELECT '\' :a', "\" :b", `:c`, 1 # :d)", Dialect::mysql);
  expect_untouched(R"(SELECT E'\' :a', $$ :b $$, $t$ :c $$ :d $t$, /* /* */ :e */ 1)", Dialect::postgresql);
}

TEST(NamedSql, CastsAndSlicesAreNoParameters) {
  expect_untouched("SELECT a::text, b[1:2], now()::date", Dialect::postgresql);
  EXPECT_EQ(name_parameters("SELECT :a::int", Dialect::postgresql).text, "SELECT $1::int");
}

TEST(NamedSql, ABackslashEndsAStringWhereItIsAnOrdinaryCharacter) {
  EXPECT_EQ(name_parameters(R"(SELECT '\', :a)", Dialect::postgresql).text, R"(SELECT '\', $1)");
  EXPECT_EQ(name_parameters(R"(SELECT '\', :a)", Dialect::sqlite).text, R"(SELECT '\', ?)");
}

TEST(NamedSql, TheVerbIsTheFirstWordOfTheStatement) {
  for (const Dialect dialect : {Dialect::sqlite, Dialect::postgresql, Dialect::mysql}) {
    EXPECT_EQ(name_parameters("SELECT 1", dialect).verb, "SELECT");
    EXPECT_EQ(name_parameters(" -- delete\n/* x */ ((with t as (select 1) select :a))", dialect).verb, "WITH");
    EXPECT_EQ(name_parameters("'select'", dialect).verb, "");
    EXPECT_EQ(name_parameters("", dialect).verb, "");
  }
}

std::string other(const std::string& sql, Dialect dialect) { return name_parameters(sql, dialect).other; }

TEST(NamedSql, ParametersOfOtherKindsAreSeen) {
  EXPECT_EQ(other("SELECT :a, ?, ?2", Dialect::sqlite), "?");
  EXPECT_EQ(other("SELECT a FROM t WHERE id=?12", Dialect::sqlite), "?12");
  EXPECT_EQ(other("SELECT @id", Dialect::sqlite), "@id");
  EXPECT_EQ(other("SELECT $id", Dialect::sqlite), "$id");
  EXPECT_EQ(other("SELECT :a, $2", Dialect::postgresql), "$2");
  EXPECT_EQ(other("SELECT :a + ?", Dialect::mysql), "?");
}

TEST(NamedSql, WhatLooksLikeAParameterOfAnotherKindIsNone) {
  for (const Dialect dialect : {Dialect::sqlite, Dialect::postgresql, Dialect::mysql}) {
    EXPECT_EQ(other("SELECT '?, $1, @a', :a, \"?$1@a\" /* ? $1 @a */ -- ? $1 @a", dialect), "");
    EXPECT_EQ(other("SELECT a$1, a$$1, \xc3\xa9$1 FROM t", dialect), "");
  }
  EXPECT_EQ(other("SELECT [?], [@a :b] FROM t", Dialect::sqlite), "");
  EXPECT_EQ(other("SELECT a ? 'k', a @> b, a @@ b, @ -1, $$ $1 $$, $t$ $1 $t$", Dialect::postgresql), "");
  EXPECT_EQ(other("SELECT @a, @@sql_mode, a->'$.k', `?` # ?", Dialect::mysql), "");
}

TEST(NamedSql, ASecondStatementIsSeen) {
  for (const Dialect dialect : {Dialect::sqlite, Dialect::postgresql, Dialect::mysql}) {
    EXPECT_TRUE(name_parameters("SELECT 1; DELETE FROM t", dialect).several);
    EXPECT_TRUE(name_parameters("SELECT 1;;", dialect).several);
    EXPECT_FALSE(name_parameters("SELECT ';', 1 /* ; */ ; -- end\n ", dialect).several);
    EXPECT_FALSE(name_parameters("SELECT 1", dialect).several);
  }
}

}  // namespace
}  // namespace sluice::conf
