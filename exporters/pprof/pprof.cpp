#include "pprof/pprof.h"

#include <map>
#include <tuple>

#include "profile.pb.h"
#include "text/text.h"

namespace hakmem {
namespace {

class Builder {
  public:
    explicit Builder(const segment::Snapshot &snapshot) {
        text("");
        add_type("inuse_objects", "count");
        add_type("inuse_space", "bytes");
        add_type("alloc_objects", "count");
        add_type("alloc_space", "bytes");
        profile_.set_default_sample_type(text("inuse_space"));
        profile_.mutable_period_type()->set_type(text("space"));
        profile_.mutable_period_type()->set_unit(text("bytes"));
        profile_.set_period(static_cast<std::int64_t>(snapshot.control.sample_bytes));
        for (const segment::Module &module : snapshot.modules) add_mapping(module);
    }

    void add(const HeapSite &site) {
        pprof::Sample &sample = *profile_.add_sample();
        // An inlined frame and the one that it is inlined into are one location.
        for (std::size_t first = 0; first < site.stack.size();) {
            std::size_t last = first;
            while (site.stack[last].inlined && last + 1 < site.stack.size()) ++last;
            sample.add_location_id(location(site.stack, first, last));
            first = last + 1;
        }
        for (const std::uint64_t value : {site.live_objects, site.live_bytes, site.total_objects, site.total_bytes})
            sample.add_value(static_cast<std::int64_t>(value));
    }

    std::string finish(std::uint64_t time_ns) {
        profile_.set_time_nanos(static_cast<std::int64_t>(time_ns));
        std::string out;
        profile_.SerializeToString(&out);
        return out;
    }

  private:
    std::int64_t text(const std::string &value) {
        const auto [found, is_new] = texts_.emplace(value, profile_.string_table_size());
        if (is_new) profile_.add_string_table(value);
        return found->second;
    }

    void add_type(const char *type, const char *unit) {
        pprof::ValueType &out = *profile_.add_sample_type();
        out.set_type(text(type));
        out.set_unit(text(unit));
    }

    void add_mapping(const segment::Module &module) {
        pprof::Mapping &out = *profile_.add_mapping();
        out.set_id(static_cast<std::uint64_t>(profile_.mapping_size()));
        out.set_memory_start(module.begin);
        out.set_memory_limit(module.end);
        out.set_file_offset(module.begin - module.bias);
        out.set_filename(text(text::clean(module.path)));
        out.set_build_id(text(text::hex_bytes(module.build_id)));
        out.set_has_functions(true);
        out.set_has_filenames(true);
        out.set_has_line_numbers(true);
        out.set_has_inline_frames(true);
    }

    std::uint64_t mapping_of(std::uint64_t pc) const {
        for (const pprof::Mapping &mapping : profile_.mapping())
            if (pc >= mapping.memory_start() && pc < mapping.memory_limit()) return mapping.id();
        return 0;
    }

    std::uint64_t function(const Frame &frame) {
        const std::string name = text::clean(frame.function.empty() ? text::hex(frame.offset) : frame.function);
        const auto [found, is_new] =
            functions_.emplace(std::pair(name, frame.file), static_cast<std::uint64_t>(functions_.size() + 1));
        if (is_new) {
            pprof::Function &out = *profile_.add_function();
            out.set_id(found->second);
            out.set_name(text(name));
            out.set_system_name(text(name));
            out.set_filename(text(text::clean(frame.file)));
        }
        return found->second;
    }

    std::uint64_t location(const Stack &stack, std::size_t first, std::size_t last) {
        const std::uint64_t pc = stack[last].pc;
        const auto [found, is_new] = locations_.emplace(pc, static_cast<std::uint64_t>(locations_.size() + 1));
        if (is_new) {
            std::vector<pprof::Line> lines;
            for (std::size_t i = first; i <= last; ++i) {
                pprof::Line line;
                line.set_function_id(function(stack[i]));
                line.set_line(stack[i].line);
                lines.push_back(std::move(line));
            }
            pprof::Location &out = *profile_.add_location();
            out.set_id(found->second);
            out.set_mapping_id(mapping_of(pc));
            out.set_address(pc);
            for (pprof::Line &line : lines) *out.add_line() = std::move(line);
        }
        return found->second;
    }

    pprof::Profile profile_;
    std::map<std::string, std::int64_t> texts_;
    std::map<std::pair<std::string, std::string>, std::uint64_t> functions_;
    std::map<std::uint64_t, std::uint64_t> locations_;
};

}  // namespace

std::string to_pprof(const segment::Snapshot &snapshot, const std::vector<HeapSite> &sites, std::uint64_t time_ns) {
    Builder builder(snapshot);
    for (const HeapSite &site : sites) builder.add(site);
    return builder.finish(time_ns);
}

}  // namespace hakmem
