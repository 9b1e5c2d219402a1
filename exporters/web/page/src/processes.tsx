// The watched processes: a table with small charts that move.
import { useState } from 'preact/hooks'
import { bytes, count, duration, exact } from './format'
import { lastRate, type LiveState, rates } from './live'
import { Level, Nothing } from './parts'
import { Spark } from './spark'
import type { LiveProcess } from './types'

type Column = 'process' | 'level' | 'rate' | 'live' | 'mapped' | 'threads' | 'age' | 'incidents'

const order: Record<Column, (process: LiveProcess) => number | string> = {
    process: (process) => process.process.toLowerCase(),
    level: (process) => ['count', 'verify', 'trace', 'guard'].indexOf(process.level),
    rate: (process) => -lastRate(process, 1),
    live: (process) => -process.live_bytes,
    mapped: (process) => -process.mapped_bytes,
    threads: (process) => -process.threads,
    age: (process) => -Date.parse(process.start_time),
    incidents: (process) => -process.incidents,
}

function sorted(processes: LiveProcess[], column: Column, reversed: boolean): LiveProcess[] {
    const key = order[column]
    const direction = reversed ? -1 : 1
    return [...processes].sort((a, b) => {
        if (a.alive !== b.alive) return a.alive ? -1 : 1
        const [x, y] = [key(a), key(b)]
        return x < y ? -direction : x > y ? direction : a.pid - b.pid
    })
}

function Row({ process, now }: { process: LiveProcess; now: number }) {
    const times = process.points.map((point) => point[0])
    const rate = lastRate(process, 1)
    const end = process.end_time ? Date.parse(process.end_time) : now
    return (
        <tr class={process.alive ? '' : 'ended'}>
            <td class="process">
                <a class="row-link name" href={`/processes/${process.pid}`}>
                    {process.process || 'unknown'}
                </a>
                <span class="pid">{process.pid}</span>
            </td>
            <td>{process.alive ? <Level level={process.level} /> : <span class="level level-ended">ended</span>}</td>
            <td class="number wide">{exact(process.threads)}</td>
            <td class="number wide">{duration((end - Date.parse(process.start_time)) / 1000)}</td>
            <td class="chart">
                <Spark times={times} values={rates(process.points, 1)} now={now} label="Allocations a second" fill />
                <span class="value">{process.alive ? `${count(rate)}/s` : '–'}</span>
            </td>
            <td class="chart">
                <Spark times={times} values={process.points.map((point) => point[3])} now={now} label="Live bytes" fromZero={false} />
                <span class="value">{process.alive ? bytes(process.live_bytes) : '–'}</span>
            </td>
            <td class="number wide">{process.alive ? bytes(process.mapped_bytes) : '–'}</td>
            <td class={`number ${process.incidents > 0 ? 'bad' : ''}`}>{count(process.incidents)}</td>
        </tr>
    )
}

const columns: { column: Column; title: string; class?: string }[] = [
    { column: 'process', title: 'Process' },
    { column: 'level', title: 'Level' },
    { column: 'threads', title: 'Threads', class: 'number wide' },
    { column: 'age', title: 'Age', class: 'number wide' },
    { column: 'rate', title: 'Allocations', class: 'chart' },
    { column: 'live', title: 'Live', class: 'chart' },
    { column: 'mapped', title: 'Mapped', class: 'number wide' },
    { column: 'incidents', title: 'Incidents', class: 'number' },
]

export function ProcessTable({ live, most }: { live: LiveState; most?: number }) {
    const [[column, reversed], sort] = useState<[Column, boolean]>(['incidents', false])
    const [wanted, search] = useState('')
    const [showEnded, setShowEnded] = useState(false)
    const needle = wanted.trim().toLowerCase()
    const matching = live.processes.filter(
        (process) => needle === '' || process.process.toLowerCase().includes(needle) || String(process.pid).startsWith(needle),
    )
    const running = matching.filter((process) => process.alive)
    const ended = matching.length - running.length
    const all = sorted(showEnded || needle !== '' ? matching : running, column, reversed)
    const shown = most === undefined ? all : all.slice(0, most)
    if (live.loaded && live.processes.length === 0)
        return (
            <Nothing title="No process is watched now.">
                <p>
                    Start one with <code>hakmem run -- COMMAND</code>, or preload <code>libhakmem-diag.so</code>.
                </p>
            </Nothing>
        )
    return (
        <>
            {(live.processes.length > 8 || ended > 0) && (
                <div class="filters">
                    <input
                        type="search"
                        placeholder="Name or pid"
                        aria-label="Show processes whose name or pid matches"
                        value={wanted}
                        onInput={(event) => search(event.currentTarget.value)}
                    />
                    {ended > 0 && (
                        <label class="check">
                            <input type="checkbox" checked={showEnded} onChange={(event) => setShowEnded(event.currentTarget.checked)} />
                            show the {exact(ended)} that ended lately
                        </label>
                    )}
                </div>
            )}
            <table class="processes rows">
                <thead>
                    <tr>
                        {columns.map((entry) => (
                            <th
                                key={entry.column}
                                scope="col"
                                class={entry.class}
                                aria-sort={entry.column !== column ? 'none' : reversed ? 'descending' : 'ascending'}
                            >
                                <button type="button" class="sort" onClick={() => sort([entry.column, entry.column === column && !reversed])}>
                                    {entry.title}
                                </button>
                            </th>
                        ))}
                    </tr>
                </thead>
                <tbody>
                    {shown.map((process) => (
                        <Row key={process.id} process={process} now={live.now} />
                    ))}
                </tbody>
            </table>
            {live.loaded && all.length === 0 && <Nothing title={needle !== '' ? 'No process matches.' : 'None of them runs any more.'} />}
            {all.length > shown.length && (
                <p class="more-rows">
                    {shown.length} of {exact(all.length)} shown <a href="/processes">All processes</a>
                </p>
            )}
        </>
    )
}
