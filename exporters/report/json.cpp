#include "report/json.h"

#include <nlohmann/json.hpp>

#include "report/kinds.h"

namespace hakmem {

nlohmann::ordered_json kinds_json() {
    using Json = nlohmann::ordered_json;
    Json list = Json::array();
    for (const KindText &text : kKindTexts) {
        Json next = Json::array();
        for (const char *step : text.next)
            if (step != nullptr) next.push_back(step);
        list.push_back({{"kind", segment::kKindNames[static_cast<std::size_t>(text.kind)]},
                        {"title", text.title},
                        {"what", text.what},
                        {"why", text.why},
                        {"free_title", text.free_title},
                        {"next", std::move(next)}});
    }
    return list;
}

}  // namespace hakmem
