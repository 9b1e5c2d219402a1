#include "diag/report.h"

#include <cstring>

#include "base/text.h"
#include "diag/message.h"

namespace hakmem {
namespace {

using segment::IncidentRecord;
using segment::ModuleRecord;

using Line = TextBuffer<700>;

void print_headline(const IncidentRecord &record) {
    Line line;
    line.put(segment::kKindNames[record.kind]);
    line.put(record.outcome != segment::kNoOutcome ? ": free of " : ": block ").hex(record.address);
    if (record.region != 0) line.put(" (").put(segment::kAddressRegionNames[record.region]).put(')');
    line.put(" by thread ").decimal(record.tid).put(" '").put_untrusted(record.thread, strnlen(record.thread, 16));
    line.put('\'');
    print_line(line.c_str());
}

void print_block(const IncidentRecord &record) {
    if (record.block == 0) return;
    Line line;
    line.put("  block ").hex(record.block).put(" of ").decimal(record.slot_bytes).put(" bytes, address at offset ");
    line.signed_decimal(record.offset);
    if (record.header_known != 0) {
        line.put(", header ").hex(record.header_found, 2).put(", expected ").hex(record.header_expected, 2);
    }
    print_line(line.c_str());
}

void print_suspect(const IncidentRecord &record) {
    if (record.suspect_address == 0) return;
    Line line;
    line.put(record.suspect_address == record.block ? "  suspect: the block itself, "
                                                    : "  suspect: the block before it, ");
    line.hex(record.suspect_address).put(" of ");
    line.decimal(record.suspect_slot_bytes).put(" bytes, ").put(segment::kSlotStateNames[record.suspect_state]);
    print_line(line.c_str());
}

void print_dump(const IncidentRecord &record) {
    for (unsigned at = 0; at < record.dump_bytes; at += 16) {
        Line line;
        line.put("  ").hex(record.dump_address + at).put(':');
        for (unsigned i = at; i < at + 16u && i < record.dump_bytes; ++i) {
            line.put(' ').put("0123456789abcdef"[record.dump[i] >> 4]).put("0123456789abcdef"[record.dump[i] & 15]);
        }
        print_line(line.c_str());
    }
}

void print_stack(const char *title, const segment::Stack &stack, const ModuleRecord *modules,
                 std::uint32_t module_count) {
    if (stack.frames == 0) return;
    if (title != nullptr) print_line(title);
    for (unsigned i = 0; i < stack.frames && i < segment::kMaxFrames; ++i) {
        Line line;
        line.put("  #").decimal(i).put(' ').hex(stack.pc[i]);
        if (stack.module[i] < module_count) {
            const ModuleRecord &module = modules[stack.module[i]];
            line.put(' ').put_untrusted(module.path, strnlen(module.path, sizeof module.path), sizeof module.path);
            line.put('+').hex(stack.pc[i] - module.bias);
        }
        print_line(line.c_str());
    }
}

}  // namespace

void print_incident(const IncidentRecord &record, const ModuleRecord *modules, std::uint32_t module_count) {
    print_headline(record);
    print_block(record);
    print_suspect(record);
    print_dump(record);
    print_stack(nullptr, record.free, modules, module_count);
    print_stack("  written by:", record.writer, modules, module_count);
    print_stack("  freed before by:", record.previous_free, modules, module_count);
    print_stack("  allocated by:", record.alloc, modules, module_count);
    print_stack("  suspect allocated by:", record.suspect_alloc, modules, module_count);
}

}  // namespace hakmem
