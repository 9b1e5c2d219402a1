#include "symbolize/demangle.h"

#include <gtest/gtest.h>

namespace hakmem {
namespace {

TEST(Demangle, Cxx) {
    EXPECT_EQ(demangle("_ZN4shop5OrderImE6cancelEPm"), "shop::Order<unsigned long>::cancel(unsigned long*)");
    EXPECT_EQ(demangle("_ZdlPv"), "operator delete(void*)");
}

TEST(Demangle, RustsOldNamesLoseTheirHashAndEscapes) {
    EXPECT_EQ(demangle("_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE"),
              "core::ptr::drop_in_place<alloc::string::String>");
    EXPECT_EQ(
        demangle(
            "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE"),
        "<Test + 'static as foo::Bar<Test>>::bar");
}

TEST(Demangle, RustsNewNames) {
    EXPECT_EQ(demangle("_RNvCs1234_7mycrate3foo"), "mycrate::foo");
    EXPECT_EQ(demangle("_RNvNtCs1234_7mycrate3foo3bar"), "mycrate::foo::bar");
}

TEST(Demangle, WhatIsNoMangledNameStaysAsItIs) {
    for (const char *name : {"main", "", "_", "_Z", "_R", "_ZNfoo", "_RNvC", "h0123456789abcdef", "_ZN"})
        EXPECT_EQ(demangle(name), name);
}

}  // namespace
}  // namespace hakmem
