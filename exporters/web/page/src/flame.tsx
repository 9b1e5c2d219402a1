// A flame graph, its root on top: width is bytes or blocks. d3-hierarchy lays it out; each frame is an element of its
// own, so that the keyboard and a screen reader find it.
import { hierarchy, type HierarchyRectangularNode, partition } from 'd3-hierarchy'
import { useMemo, useRef, useState } from 'preact/hooks'
import { fileName } from './format'
import type { Node } from './flametree'
import type { HeapFrame } from './types'

type Laid = HierarchyRectangularNode<Node>

const rowHeight = 22
const narrowest = 0.0015 // of the width: what is narrower is not drawn

interface Props {
    root: Node
    rootName: string
    difference: boolean
    search: string
    format: (value: number) => string
}

export function frameName(frame: HeapFrame): string {
    // Without symbols it is an offset, which means something only beside its module.
    if (/^0x[0-9a-f]+$/.test(frame.function)) return `${fileName(frame.module) || 'unknown'}+${frame.function}`
    return frame.function.replace(/\(anonymous namespace\)::/g, '')
}

const framePlace = (frame: HeapFrame) => (frame.file ? `${fileName(frame.file)}${frame.line ? `:${frame.line}` : ''}` : fileName(frame.module))

function hash(text: string): number {
    let value = 7
    for (let i = 0; i < text.length; ++i) value = (value * 31 + text.charCodeAt(i)) % 9973
    return value
}

// The same colour for the same module, so that a library can be told from the program; a shade of it for a function.
function colour(frame: HeapFrame | undefined): string {
    return frame === undefined ? 'same' : `tone-${hash(fileName(frame.module)) % 6} shade-${hash(frame.function) % 4}`
}

function share(part: number, whole: number): string {
    return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : ''
}

function tone(node: Node, difference: boolean, most: number): string {
    if (!difference) return colour(node.frame)
    const change = node.now - node.before
    if (change === 0 || most === 0) return 'same'
    const strength = Math.min(3, Math.ceil((3 * Math.abs(change)) / most))
    return `${change > 0 ? 'grew' : 'shrank'}-${strength}`
}

export function Flame({ root, rootName, difference, search, format }: Props) {
    const laid = useMemo(() => {
        const all = hierarchy(root, (node) => node.children)
            .sum((node) => node.self)
            .sort((a, b) => (b.value ?? 0) - (a.value ?? 0))
        return partition<Node>()(all)
    }, [root])
    const [zoomed, zoom] = useState('')
    const [focused, focus] = useState('')
    const [hovered, hover] = useState<string>()
    const place = useRef<HTMLDivElement>(null)

    const nodes = laid.descendants()
    const byKey = new Map(nodes.map((node) => [node.data.key, node]))
    const base = byKey.get(zoomed) ?? laid
    const current = byKey.get(hovered ?? focused) ?? base
    const width = base.x1 - base.x0
    const depth = (node: Laid) => Math.round(node.y0 * (laid.height + 1))
    const ancestors = new Set(base.ancestors())
    const shown = nodes.filter(
        (node) => ancestors.has(node) || (node.x0 >= base.x0 && node.x1 <= base.x1 && (node.x1 - node.x0) / width >= narrowest),
    )
    const tabKey = shown.some((node) => node.data.key === focused) ? focused : base.data.key
    const deepest = Math.max(...shown.map(depth))
    const most = Math.max(...shown.map((node) => Math.abs(node.data.now - node.data.before)))
    const needle = search.trim().toLowerCase()
    const matches = (frame: HeapFrame) => `${frame.function} ${frame.file ?? ''} ${frame.module}`.toLowerCase().includes(needle)
    const total = laid.data.now

    const move = (node: Laid | undefined | null) => {
        if (!node || !shown.includes(node)) return
        focus(node.data.key)
        requestAnimationFrame(() => place.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus())
    }
    const sibling = (node: Laid, step: number) => {
        const list = node.parent?.children ?? []
        return list[list.indexOf(node) + step]
    }
    const onKeyDown = (event: KeyboardEvent) => {
        const node = byKey.get(tabKey)
        if (node === undefined) return
        const actions: Record<string, () => void> = {
            ArrowDown: () => move(node.children?.[0]),
            ArrowUp: () => move(node.parent),
            ArrowRight: () => move(sibling(node, 1)),
            ArrowLeft: () => move(sibling(node, -1)),
            Enter: () => zoom(node.data.key),
            ' ': () => zoom(node.data.key),
            Escape: () => zoom(''),
        }
        const action = actions[event.key]
        if (action === undefined) return
        event.preventDefault()
        action()
    }

    const describe = (node: Laid) => {
        const { now, before } = node.data
        const change = now - before
        const amount = difference
            ? `${change >= 0 ? '+' : ''}${format(change)} (${format(before)} before, ${format(now)} now)`
            : `${format(now)}, ${share(now, total)}`
        return { name: node.data.frame ? frameName(node.data.frame) : rootName, amount }
    }
    const told = describe(current)
    return (
        <div class="flame">
            <p class="flame-told" aria-live="polite">
                <b>{told.name}</b>
                {current.data.frame && <span class="dim"> {framePlace(current.data.frame)}</span>}
                <span class="flame-amount">{told.amount}</span>
                {zoomed !== '' && (
                    <button type="button" class="quiet" onClick={() => zoom('')}>
                        Back to all
                    </button>
                )}
            </p>
            <div
                ref={place}
                class="flame-graph"
                role="tree"
                aria-label="Flame graph: arrow keys move, Enter zooms in, Escape shows all"
                style={{ height: `${(deepest + 1) * rowHeight}px` }}
                onKeyDown={onKeyDown}
                onMouseLeave={() => hover(undefined)}
            >
                {shown.map((node) => {
                    const above = ancestors.has(node)
                    const left = above ? 0 : (node.x0 - base.x0) / width
                    const part = above ? 1 : (node.x1 - node.x0) / width
                    const { frame, key } = node.data
                    const found = needle !== '' && frame !== undefined && matches(frame)
                    const { name, amount } = describe(node)
                    return (
                        <div
                            key={key}
                            role="treeitem"
                            aria-level={depth(node) + 1}
                            aria-label={`${name}, ${amount}`}
                            tabIndex={key === tabKey ? 0 : -1}
                            class={`flame-frame ${tone(node.data, difference, most)} ${above && node !== base ? 'above' : ''} ${found ? 'found' : needle !== '' ? 'lost' : ''}`}
                            style={{ left: `${left * 100}%`, width: `${part * 100}%`, top: `${depth(node) * rowHeight}px` }}
                            onClick={() => {
                                zoom(key)
                                focus(key)
                            }}
                            onFocus={() => focus(key)}
                            onMouseEnter={() => hover(key)}
                        >
                            {part > 0.02 && name}
                        </div>
                    )
                })}
            </div>
        </div>
    )
}
