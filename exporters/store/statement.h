// One prepared statement of SQLite, for the files that the incident store is made of.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "store/incident_reader.h"

namespace hakmem {

[[noreturn]] inline void sql_failed(sqlite3 *db, const char *what) {
    throw StoreError(std::string(what) + ": " + (db != nullptr ? sqlite3_errmsg(db) : "out of memory"));
}

inline std::int64_t to_sql(std::uint64_t value) {
    return static_cast<std::int64_t>(std::min<std::uint64_t>(value, INT64_MAX));
}

class Statement {
  public:
    Statement(sqlite3 *db, const std::string &sql) : db_(db) {
        if (sqlite3_prepare_v2(db, sql.c_str(), -1, &statement_, nullptr) != SQLITE_OK)
            sql_failed(db, "incident store");
    }
    ~Statement() { sqlite3_finalize(statement_); }
    Statement(const Statement &) = delete;
    Statement &operator=(const Statement &) = delete;

    Statement &bind(const std::string &value) {
        sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
        return *this;
    }
    Statement &bind(std::uint64_t value) {
        sqlite3_bind_int64(statement_, ++bound_, to_sql(value));
        return *this;
    }
    template <class T>
    Statement &bind(const std::optional<T> &value) {
        if (value) return bind(*value);
        ++bound_;  // NULL
        return *this;
    }
    // True as long as there is a row.
    bool step() {
        const int result = sqlite3_step(statement_);
        if (result == SQLITE_ROW) return true;
        if (result == SQLITE_DONE) return false;
        sql_failed(db_, "incident store");
    }
    std::string text(int column) const {
        const auto *value = reinterpret_cast<const char *>(sqlite3_column_text(statement_, column));
        return value == nullptr
                   ? std::string()
                   : std::string(value, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
    }
    std::uint64_t number(int column) const {
        return static_cast<std::uint64_t>(std::max<std::int64_t>(sqlite3_column_int64(statement_, column), 0));
    }

  private:
    sqlite3 *db_;
    sqlite3_stmt *statement_ = nullptr;
    int bound_ = 0;
};

}  // namespace hakmem
