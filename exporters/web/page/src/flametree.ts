// Heap profiles as trees: merging stacks, two moments at once. Pure functions.
import { fileName } from './format'
import type { Heap, HeapFrame, HeapSite } from './types'

export type Measure = 'live_bytes' | 'live_objects' | 'total_bytes' | 'total_objects'
export type Sums = Record<Measure, number>

// One profile, its stacks shared with those of other moments.
export interface Moment {
    time: number // ms
    sums: Map<string, Sums> // by the key of a stack
}

export type Stacks = Map<string, HeapFrame[]> // innermost first, by key

const isAllocator = (frame: HeapFrame) => /^libhakmem/.test(fileName(frame.module))

export const frameKey = (frame: HeapFrame) => `${frame.function}\n${frame.file ?? frame.module}\n${frame.line ?? ''}`

// The stack without the allocator's own frames at its inner end.
function trimmed(stack: HeapFrame[]): HeapFrame[] {
    const own = stack.findIndex((frame) => !isAllocator(frame))
    return own > 0 ? stack.slice(own) : stack
}

export function momentOf(heap: Heap, stacks: Stacks): Moment {
    const sums = new Map<string, Sums>()
    for (const site of heap.sites) {
        const stack = trimmed(site.stack)
        const key = stack.map(frameKey).join('\n\n')
        if (!stacks.has(key)) stacks.set(key, stack)
        const known = sums.get(key)
        if (known === undefined) sums.set(key, sumsOf(site))
        else for (const measure of measures) known[measure] += site[measure]
    }
    return { time: heap.time_ms, sums }
}

const measures: Measure[] = ['live_bytes', 'live_objects', 'total_bytes', 'total_objects']

const sumsOf = ({ live_bytes, live_objects, total_bytes, total_objects }: HeapSite): Sums => ({
    live_bytes,
    live_objects,
    total_bytes,
    total_objects,
})

export interface Node {
    key: string
    frame?: HeapFrame // none: the root
    self: number // width of what ends here
    now: number // of this frame and those below it
    before: number
    children: Node[]
}

interface Growing extends Node {
    byKey: Map<string, Growing>
}

const grow = (key: string, frame?: HeapFrame): Growing => ({ key, frame, self: 0, now: 0, before: 0, children: [], byKey: new Map() })

// Calls from several lines of one function are one frame; an allocation site is a line.
const callerKey = (frame: HeapFrame) => `${frame.function}\n${frame.file ?? frame.module}`

// The tree of one moment; with `before` its difference to an earlier one, where the width of a frame is what changed
// below it, up or down. `inverted`: the allocation sites are next to the root, their callers behind them.
export function tree(stacks: Stacks, measure: Measure, now: Moment, before: Moment | undefined, inverted: boolean): Node {
    const root = grow('')
    const keys = new Set([...now.sums.keys(), ...(before?.sums.keys() ?? [])])
    for (const key of keys) {
        const value = now.sums.get(key)?.[measure] ?? 0
        const old = before?.sums.get(key)?.[measure] ?? 0
        const width = before === undefined ? value : Math.abs(value - old)
        if (width === 0) continue
        const stack = stacks.get(key) ?? []
        const path = inverted ? stack : [...stack].reverse()
        let node = root
        node.now += value
        node.before += old
        path.forEach((frame, i) => {
            const name = i === (inverted ? 0 : path.length - 1) ? frameKey(frame) : callerKey(frame)
            let child = node.byKey.get(name)
            if (child === undefined) {
                child = grow(`${node.key}/${name}`, frame)
                node.byKey.set(name, child)
                node.children.push(child)
            } else if (child.frame!.line !== frame.line) {
                child.frame = { ...child.frame!, line: undefined }
            }
            node = child
            node.now += value
            node.before += old
        })
        node.self += width
    }
    return root
}

export interface SiteRow {
    key: string
    frame?: HeapFrame
    now: Sums
    before: Sums
}

const none = (): Sums => ({ live_bytes: 0, live_objects: 0, total_bytes: 0, total_objects: 0 })

// The allocation sites (innermost frames) with their sums, the largest first.
export function siteRows(stacks: Stacks, measure: Measure, now: Moment, before: Moment | undefined): SiteRow[] {
    const rows = new Map<string, SiteRow>()
    const add = (moment: Moment, which: 'now' | 'before') => {
        for (const [key, sums] of moment.sums) {
            const frame = stacks.get(key)?.[0]
            const name = frame === undefined ? '' : frameKey(frame)
            let row = rows.get(name)
            if (row === undefined) rows.set(name, (row = { key: name, frame, now: none(), before: none() }))
            for (const each of measures) row[which][each] += sums[each]
        }
    }
    add(now, 'now')
    if (before !== undefined) add(before, 'before')
    const weight = (row: SiteRow) => (before === undefined ? row.now[measure] : Math.abs(row.now[measure] - row.before[measure]))
    return [...rows.values()].filter((row) => weight(row) > 0).sort((a, b) => weight(b) - weight(a))
}
