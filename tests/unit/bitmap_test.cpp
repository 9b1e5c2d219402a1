#include "base/bitmap.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace hakmem {
namespace {

using Bits = Bitmap<512>;

TEST(Bitmap, SetsAndClearsRangesAcrossWords) {
    Bits bits{};
    bits.set(60, 70);
    EXPECT_EQ(bits.count_in(0, 512), 70u);
    EXPECT_FALSE(bits.test(59));
    EXPECT_TRUE(bits.test(60));
    EXPECT_TRUE(bits.test(129));
    EXPECT_FALSE(bits.test(130));
    bits.clear(64, 1);
    EXPECT_EQ(bits.count_in(60, 70), 69u);
    EXPECT_EQ(bits.next_clear(60), 64u);
    EXPECT_EQ(bits.next_set(64), 65u);
}

TEST(Bitmap, FindsWholeAndNoRuns) {
    Bits bits{};
    EXPECT_EQ(bits.find_run(1), Bits::kNone);
    EXPECT_EQ(bits.longest_run(), 0u);
    bits.set(0, 512);
    EXPECT_EQ(bits.find_run(512), 0u);
    EXPECT_EQ(bits.longest_run(), 512u);
}

// Against a plain vector of bools.
TEST(Bitmap, AgreesWithAModel) {
    std::mt19937 random(1);
    Bits bits{};
    std::vector<bool> model(512);
    for (int step = 0; step < 5000; ++step) {
        const unsigned begin = random() % 512, count = 1 + random() % (512 - begin);
        const bool value = random() % 2;
        if (value)
            bits.set(begin, count);
        else
            bits.clear(begin, count);
        std::fill_n(model.begin() + begin, count, value);

        unsigned longest = 0, run = 0;
        for (const bool bit : model) longest = std::max(longest, run = bit ? run + 1 : 0);
        ASSERT_EQ(bits.longest_run(), longest);
        const unsigned wanted = 1 + random() % 512;
        const unsigned found = bits.find_run(wanted);
        if (wanted > longest) {
            ASSERT_EQ(found, Bits::kNone);
        } else {
            ASSERT_EQ(bits.count_in(found, wanted), wanted);
            for (unsigned i = 0; i < found; ++i) {
                unsigned length = 0;
                while (i + length < 512 && model[i + length]) ++length;
                ASSERT_LT(length, wanted) << "an earlier run fits";
            }
        }
    }
}

}  // namespace
}  // namespace hakmem
