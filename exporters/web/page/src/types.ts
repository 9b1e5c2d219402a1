// What the exporter's API answers. Every string in it may come from a watched program, and is shown as text only.

export interface Frame {
    pc: string
    module: string
    build_id: string
    offset: string
    function?: string
    file?: string
    line?: number
    inlined?: boolean
    note?: string
}

export type StackName = 'free' | 'alloc' | 'previous_free' | 'suspect_alloc' | 'writer'

export type SlotState = 'unknown' | 'in_use' | 'free' | 'never_used'

export interface Incident {
    id: string
    time: string
    kind: string
    region?: 'stack' | 'static' | 'mapping' | 'unmapped'
    process: string
    exe: string
    pid: number
    tid: number
    thread: string
    address: string
    size_class: number | 'large' | null
    block_bytes?: number
    asked_bytes?: number
    block?: string
    offset: number
    header: { found: string; expected: string } | null
    dump: { address: string; bytes: string } | null
    reading?: string
    stacks: Partial<Record<StackName, Frame[]>>
    suspect?: { address: string; size_class: number | 'large' | null; block_bytes: number; state: SlotState }
    fingerprint: string
    count: number
    first_seen: string
    last_seen: string
    outcome: 'recovered' | 'foreign' | 'rejected' | null
    level: string
}

export interface Summary {
    id: string
    host?: string // of a fleet
    build_id?: string // of a fleet
    kind: string
    process: string
    pid: number
    thread: string
    level: string
    site: string | null // null: noticed in passing, no call of the program led to it
    other_site?: string
    fingerprint: string
    count: number
    first_seen: string
    last_seen: string
}

// One build in which a bug was seen: of the module where it was found.
export interface Build {
    build_id: string
    module: string
    hosts: number
    count: number
    first_seen: string
    last_seen: string
}

export interface Group {
    fingerprint: string
    kind: string
    site: string | null // as a Summary's
    caller?: string
    other_site?: string
    processes: string[]
    incidents: number
    count: number
    first_seen: string
    last_seen: string
    latest: string
    hosts?: number // of a fleet, with those below
    builds?: Build[] // the one that was seen first, then the latest
    all_builds?: number
}

export interface Facet {
    name: string
    groups: number
    count: number
}

export interface Groups {
    groups: Group[]
    all_groups: number
    all_incidents: number
    all_count: number
    kinds: Facet[]
    processes: Facet[]
}

export interface Kind {
    kind: string
    title: string
    what: string
    why: string
    free_title: string
    next: string[]
}

// time_ms, allocations, frees, live_bytes, mapped_bytes, incidents: running totals and gauges.
export type Point = [number, number, number, number, number, number]

export interface LiveProcess {
    id: string
    pid: number
    process: string
    exe: string
    level: string
    alive: boolean
    start_time: string
    end_time?: string
    threads: number
    live_bytes: number
    mapped_bytes: number
    incidents: number
    points: Point[]
}

export interface Live {
    now: number
    processes: LiveProcess[]
}

export interface SizeClass {
    allocations: number
    frees: number
    live_blocks: number
}

export interface Process {
    pid: number
    process: string
    exe: string
    level: string
    start_time: string
    end_time?: string
    alive: boolean
    threads: number
    version: string
    counters: {
        allocations: number
        frees: number
        allocated_bytes: number
        freed_bytes: number
        live_bytes: number
        cached_bytes: number
        mapped_bytes: number
        quarantine_bytes: number
        size_classes: Record<string, SizeClass>
        free_path: Record<string, number>
        header_invalid: Record<string, number>
        slow_path: Record<string, number>
        mincore_calls: Record<string, number>
        incidents: Record<string, number>
        incidents_dropped: number
        headers_audited: number
        audits: number
        backtraces: Record<string, number>
    }
}

export interface Source {
    file: string
    line: number
    first_line: number
    lines: string[]
    changed_since: boolean
}

export interface HeapFrame {
    function: string
    file?: string
    line?: number
    module: string
}

export interface HeapSite {
    stack: HeapFrame[] // innermost first
    live_bytes: number
    live_objects: number
    total_bytes: number
    total_objects: number
}

export interface Heap {
    pid: number
    process: string
    level: string
    time_ms: number
    live_bytes: number
    sites: HeapSite[]
}
