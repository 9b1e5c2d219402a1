// The small parts that several views are made of.
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiError, onTick, useLatest } from './api'
import { ago, dateTime } from './format'
import type { Kind } from './types'

// What sort of mistake a kind is: it gives the colour of its mark.
const families: Record<string, string> = {
    double_free: 'lifetime',
    use_after_free_write: 'lifetime',
    header_overwritten: 'overflow',
    large_header_corrupt: 'overflow',
    redzone_overwritten: 'overflow',
    header_write_caught: 'overflow',
    guard_page_access: 'overflow',
    interior_pointer: 'pointer',
    foreign_pointer: 'pointer',
    alloc_dealloc_mismatch: 'mismatch',
    size_mismatch: 'mismatch',
}

export const kindTitle = (kinds: Map<string, Kind>, kind: string) =>
    kinds.get(kind)?.title ?? kind.charAt(0).toUpperCase() + kind.slice(1).replaceAll('_', ' ')

export function KindMark({ kind }: { kind: string }) {
    return <span class={`mark ${families[kind] ?? 'pointer'}`} aria-hidden="true" />
}

export function Level({ level }: { level: string }) {
    return <span class={`level level-${level}`}>{level}</span>
}

// «3 min ago», which goes on by itself: only a text that changes is drawn anew, however many there are.
export function Time({ time }: { time: string }) {
    const text = ago(time, Date.now())
    const drawn = useLatest(text)
    const [, drawAnew] = useState(0)
    useEffect(() => onTick(() => ago(time, Date.now()) !== drawn.current && drawAnew((times) => times + 1)), [time])
    return (
        <time dateTime={time} title={dateTime(time)}>
            {text}
        </time>
    )
}

export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
    const [done, set] = useState(false)
    const timer = useRef<number | undefined>(undefined)
    useEffect(() => () => clearTimeout(timer.current), [])
    const copy = async () => {
        try {
            await navigator.clipboard.writeText(text)
        } catch {
            // Without TLS there is no clipboard API.
            const area = document.createElement('textarea')
            area.value = text
            area.className = 'offscreen'
            document.body.append(area)
            area.select()
            document.execCommand('copy')
            area.remove()
        }
        set(true)
        clearTimeout(timer.current)
        timer.current = setTimeout(() => set(false), 1500)
    }
    return (
        <button type="button" class="copy" onClick={copy} aria-live="polite">
            {done ? 'Copied' : label}
        </button>
    )
}

export function Command({ text }: { text: string }) {
    return (
        <span class="command">
            <code>{text}</code>
            <Copy text={text} />
        </span>
    )
}

// Text with `commands` in it; the names in capitals stand for the incident's own.
export function Step({ text, values }: { text: string; values: Record<string, string> }) {
    const parts = text.split('`')
    return (
        <>
            {parts.map((part, i) => {
                // A command stands on a line of its own: no full stop behind it.
                if (i % 2 === 0) return part === '.' ? null : part
                const command = part.replace(/\b(PID|FINGERPRINT|PROCESS|KIND)\b/g, (name) => values[name] ?? name)
                return part.startsWith('hakmem ') ? <Command text={command} /> : <code>{command}</code>
            })}
        </>
    )
}

// The view's heading, which the window's title repeats.
export function Heading({ children, hidden = false }: { children: ComponentChildren; hidden?: boolean }) {
    const heading = useRef<HTMLHeadingElement>(null)
    useEffect(() => {
        document.title = hidden ? 'hakmem' : `${heading.current!.textContent} – hakmem`
    })
    return (
        <h1 ref={heading} class={hidden ? 'offscreen' : ''}>
            {children}
        </h1>
    )
}

export function Panel(props: { title: string; children: ComponentChildren; class?: string; aside?: ComponentChildren }) {
    return (
        <section class={`panel ${props.class ?? ''}`}>
            <header>
                <h2>{props.title}</h2>
                {props.aside}
            </header>
            {props.children}
        </section>
    )
}

export function Failure({ error }: { error?: ApiError }) {
    if (error === undefined) return null
    return (
        <p class="failure" role="alert">
            {error.message}
        </p>
    )
}

export function Nothing({ title, children }: { title: string; children?: ComponentChildren }) {
    return (
        <div class="nothing">
            <p class="nothing-title">{title}</p>
            {children}
        </div>
    )
}

export interface Choice<T extends string> {
    value: T
    label: string
}

// One of a few, side by side: arrow keys move, as radio buttons do.
export function Choices<T extends string>(props: {
    label: string
    name: string
    choices: Choice<T>[]
    value: T
    change: (value: T) => void
}) {
    return (
        <fieldset class="choices">
            <legend class="offscreen">{props.label}</legend>
            {props.choices.map((choice) => (
                <label key={choice.value}>
                    <input
                        type="radio"
                        name={props.name}
                        value={choice.value}
                        checked={choice.value === props.value}
                        onChange={() => props.change(choice.value)}
                    />
                    <span>{choice.label}</span>
                </label>
            ))}
        </fieldset>
    )
}
