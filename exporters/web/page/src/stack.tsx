// One stack: function, file and line of each frame, the program's own frames first in sight, source lines on demand.
import { useState } from 'preact/hooks'
import { useApi } from './api'
import { fileName } from './format'
import type { Frame, Source, StackName } from './types'

// The same lists as in exporters/fingerprint: what is the allocator's and the runtime's own.
const runtimeModules =
    /^(libhakmem|libc\.so|libc-|libstdc\+\+\.so|libgcc_s\.so|libc\+\+\.so|libc\+\+abi\.so|libpthread|ld-linux|ld\.so|linux-vdso|ld-musl)/
const runtimeFunctions = /^(_start|__libc_start_main|__libc_csu_init|operator delete|operator new)/

export const isRuntime = (frame: Frame) =>
    runtimeModules.test(fileName(frame.module)) || runtimeFunctions.test(frame.function ?? '')

export const ownFrame = (stack: Frame[] | undefined) => stack?.find((frame) => !isRuntime(frame)) ?? stack?.[0]

// The name alone: without arguments and, where it is long, without template arguments.
export function shortName(frame: Frame | undefined): string {
    if (frame === undefined) return 'unknown code'
    if (!frame.function) return `${fileName(frame.module) || 'unknown module'}+${frame.offset}`
    const name = frame.function.replace(/\(anonymous namespace\)::/g, '').replace(/\(.*$/, '')
    return `${name}()`
}

function SourceLines({ incident, stack, frame }: { incident: string; stack: StackName; frame: number }) {
    const { data, error } = useApi<Source>(`/api/v1/incidents/${incident}/source?stack=${stack}&frame=${frame}`)
    if (error !== undefined) return <p class="source-none">No source lines: {error.message}</p>
    if (data === undefined) return <p class="source-none">Reading…</p>
    return (
        <div class="source">
            {data.changed_since && <p class="source-changed">This file was changed since the program was built: lines may have moved.</p>}
            <pre tabIndex={0} aria-label={`Source around line ${data.line}`}>
                {data.lines.map((line, i) => {
                    const number = data.first_line + i
                    return (
                        <span key={number} class={number === data.line ? 'line hit' : 'line'}>
                            <span class="line-number">{number}</span>
                            <span class="line-text">{line || ' '}</span>
                        </span>
                    )
                })}
            </pre>
        </div>
    )
}

function FrameRow(props: { incident: string; stack: StackName; frame: Frame; index: number; open: boolean; toggle: () => void }) {
    const { frame, open } = props
    const place = (
        <>
            <span class="function">{frame.function || `${frame.pc}`}</span>
            {frame.inlined && <span class="inlined">inlined</span>}
            <span class="place" title={frame.file ?? frame.module}>
                {frame.file ? (
                    <>
                        {fileName(frame.file)}
                        {frame.line !== undefined && <b>:{frame.line}</b>}
                    </>
                ) : (
                    `${fileName(frame.module) || 'no module'}+${frame.offset}`
                )}
            </span>
            {frame.note && <span class="frame-note">{frame.note}</span>}
        </>
    )
    return (
        <li class={isRuntime(frame) ? 'frame runtime' : 'frame'}>
            {frame.file && frame.line ? (
                <button type="button" class="frame-head" aria-expanded={open} onClick={props.toggle}>
                    <span class="frame-number">{props.index}</span>
                    <span class="frame-body">{place}</span>
                </button>
            ) : (
                <div class="frame-head">
                    <span class="frame-number">{props.index}</span>
                    <span class="frame-body">{place}</span>
                </div>
            )}
            {open && <SourceLines incident={props.incident} stack={props.stack} frame={props.index} />}
        </li>
    )
}

export function StackView(props: { incident: string; name: StackName; title: string; note?: string; frames: Frame[]; accused?: boolean }) {
    const { frames } = props
    const own = frames.findIndex((frame) => !isRuntime(frame))
    const [open, setOpen] = useState<ReadonlySet<number>>(new Set(own >= 0 && frames[own].file ? [own] : []))
    const [all, showAll] = useState(own < 0)
    const hidden = all ? 0 : frames.filter(isRuntime).length
    const toggle = (index: number) => {
        const next = new Set(open)
        if (!next.delete(index)) next.add(index)
        setOpen(next)
    }
    return (
        <section class={`stack ${props.accused ? 'accused' : ''}`}>
            <h3>{props.title}</h3>
            {props.note && <p class="stack-note">{props.note}</p>}
            <ol>
                {frames.map((frame, i) =>
                    all || !isRuntime(frame) ? (
                        <FrameRow
                            key={i}
                            incident={props.incident}
                            stack={props.name}
                            frame={frame}
                            index={i}
                            open={open.has(i)}
                            toggle={() => toggle(i)}
                        />
                    ) : null,
                )}
            </ol>
            {hidden > 0 && (
                <button type="button" class="quiet" onClick={() => showAll(true)}>
                    Show {hidden} {hidden === 1 ? 'frame' : 'frames'} of the runtime
                </button>
            )}
        </section>
    )
}
