// A small order service with two planted heap bugs, for ./quickstart and the README.
//
// It takes the orders of a day one by one, copies the customer's name, prices the order, keeps a list of what is still
// to be shipped, and cancels a few. All of it works, and no test of its output would show the two bugs:
//   - copy_name() forgets that a string ends with a NUL: a name of exactly 31 letters fills its block, and the NUL goes
//     into the first byte behind it;
//   - cancel() drops an order's note, though the caller has dropped it already.
//
// Use: order_service ORDERS [MILLISECONDS-BETWEEN-ORDERS]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>

namespace {

struct Order {
    int number;
    char *customer;
    char *note;
    long cents;
};

constexpr const char *kCustomers[] = {
    "Ada", "Grace Hopper", "Annabel Longbottom-Featherstone", "Edsger W. Dijkstra", "Barbara Liskov",
};
static_assert(sizeof "Annabel Longbottom-Featherstone" - 1 == 31, "fills a block of 32 bytes to the last one");

char *copy_name(const char *name) {
    char *copy = static_cast<char *>(std::malloc(std::strlen(name)));  // the bug: no room for the NUL
    std::strcpy(copy, name);
    return copy;
}

char *copy_note(int number) {
    char *note = static_cast<char *>(std::malloc(64));
    std::snprintf(note, 64, "order %d: leave at the door", number);
    return note;
}

Order take_order(int number) {
    const char *customer = kCustomers[number % std::size(kCustomers)];
    return {number, copy_name(customer), copy_note(number), 199L + number % 7 * 100};
}

void ship(Order &order) {
    std::free(order.customer);
    std::free(order.note);
}

void cancel(Order &order) {
    std::free(order.note);  // the bug: main() has freed the note of a cancelled order already
    std::free(order.customer);
}

}  // namespace

int main(int argc, char **argv) {
    const int orders = argc > 1 ? std::atoi(argv[1]) : 1000;
    const auto pause = std::chrono::milliseconds(argc > 2 ? std::atoi(argv[2]) : 1);

    std::deque<Order> open_orders;
    long cents = 0;
    int shipped = 0;
    int cancelled = 0;
    for (int number = 1; number <= orders; ++number) {
        open_orders.push_back(take_order(number));
        if (open_orders.size() < 32 && number < orders) continue;
        Order &order = open_orders.front();
        if (order.number % 250 == 0) {
            std::free(order.note);
            cancel(order);
            ++cancelled;
        } else {
            cents += order.cents;
            ship(order);
            ++shipped;
        }
        open_orders.pop_front();
        std::this_thread::sleep_for(pause);
    }
    for (Order &order : open_orders) {
        cents += order.cents;
        ship(order);
        ++shipped;
    }
    std::printf("%d orders shipped, %d cancelled, %ld.%02ld earned\n", shipped, cancelled, cents / 100, cents % 100);
}
