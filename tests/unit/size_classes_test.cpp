#include "core/size_classes.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace hakmem::size_classes {
namespace {

TEST(SizeClasses, EveryRequestFitsTheSmallestClassThatLeavesAByteForTheNextHeader) {
    for (std::size_t request = 0; request <= kMaxSmall; ++request) {
        const unsigned c = of_request(request);
        ASSERT_GE(usable_bytes(c), request);
        if (c > 0) {
            ASSERT_LT(usable_bytes(c - 1), request);
        }
    }
}

TEST(SizeClasses, PowersOfTwoDoNotFallIntoTheNextQuarterStep) {
    for (std::size_t request = 128; request <= 8192; request *= 2) {
        EXPECT_EQ(kSlotBytes[of_request(request)], request + kGranule) << request;
    }
}

TEST(SizeClasses, SpansAreWellFilledAndClosedByAHeader) {
    for (unsigned c = 0; c < kCount; ++c) {
        const std::size_t used = kFirstSlot + slots_in_span(c) * kSlotBytes[c];
        EXPECT_LE(used, kSpanBytes);
        EXPECT_GE(used, kSpanBytes * 7 / 8) << "class " << c;
    }
}

// The table of internal waste that DESIGN asks for.
TEST(SizeClasses, PrintsItsInternalWaste) {
    double worst = 0, sum = 0;
    std::size_t previous = 0;
    std::printf("slot  usable  requests       mean waste  worst waste\n");
    for (unsigned c = 0; c < kCount; ++c) {
        const std::size_t usable = usable_bytes(c), low = c == 0 ? 1 : previous + 1;
        double class_sum = 0;
        for (std::size_t n = low; n <= usable; ++n) class_sum += 1.0 - static_cast<double>(n) / kSlotBytes[c];
        const double mean = class_sum / static_cast<double>(usable - low + 1);
        const double class_worst = 1.0 - static_cast<double>(low) / kSlotBytes[c];
        std::printf("%5u  %5zu  %5zu..%-5zu  %8.1f %%  %9.1f %%\n", kSlotBytes[c], usable, low, usable, 100 * mean,
                    100 * class_worst);
        if (low > 64) worst = std::max(worst, class_worst);
        sum += mean;
        previous = usable;
    }
    EXPECT_LT(worst, 0.26);
    EXPECT_LT(sum / kCount, 0.15);
}

}  // namespace
}  // namespace hakmem::size_classes
