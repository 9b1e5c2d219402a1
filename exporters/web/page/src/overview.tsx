// The first view: how it stands, the incidents by fingerprint, the processes.
import type { ComponentChildren } from 'preact'
import { useApi, useNow } from './api'
import { bytes, count, exact, plural } from './format'
import { FilteredGroups, filterOf, groupsPath, isFiltered } from './groups'
import { lastRate, type LiveState, rates, useLive } from './live'
import { type Series, sumOfSeries } from './series'
import { Heading, Panel, Time } from './parts'
import { ProcessTable } from './processes'
import type { Place } from './router'
import { Spark } from './spark'
import type { Groups } from './types'

const mostProcesses = 12

function Tile(props: { title: string; value: string; note?: ComponentChildren; chart?: ComponentChildren; bad?: boolean }) {
    return (
        <div class={`tile ${props.bad ? 'bad' : ''}`}>
            <h2>{props.title}</h2>
            <p class="big">{props.value}</p>
            {props.note && <p class="note">{props.note}</p>}
            {props.chart}
        </div>
    )
}

function sums(live: LiveState, values: (index: number) => (number | null)[]): Series {
    const running = live.processes.flatMap((process, index) =>
        process.alive ? [{ times: process.points.map((point) => point[0]), values: values(index) }] : [],
    )
    return sumOfSeries(running)
}

function Tiles({ live, groups, filtered }: { live: LiveState; groups?: Groups; filtered: boolean }) {
    const running = live.processes.filter((process) => process.alive)
    const levels = new Map<string, number>()
    for (const process of running) levels.set(process.level, (levels.get(process.level) ?? 0) + 1)
    const rate = sums(live, (index) => rates(live.processes[index].points, 1))
    const bytesNow = sums(live, (index) => live.processes[index].points.map((point) => point[3]))
    const last = groups?.groups[0]?.last_seen
    const place = groups?.groups[0]?.hosts === undefined ? '' : ', this host' // of a fleet only the incidents are known
    return (
        <div class="tiles">
            <Tile
                title={filtered ? 'Distinct bugs, as filtered' : 'Distinct bugs'}
                value={groups === undefined ? '…' : exact(groups.all_groups)}
                bad={groups !== undefined && groups.all_groups > 0}
                note={
                    groups !== undefined && last !== undefined ? (
                        <>
                            seen {plural(groups.all_count, 'time')}, last <Time time={last} />
                        </>
                    ) : (
                        filtered ? 'none that the filters let through' : 'nothing seen'
                    )
                }
            />
            <Tile
                title={`Running processes${place}`}
                value={live.loaded ? exact(running.length) : '…'}
                note={[...levels].map(([level, number]) => (levels.size === 1 ? `at level ${level}` : `${number} ${level}`)).join(', ')}
            />
            <Tile
                title={`Allocations a second${place}`}
                value={live.loaded ? count(running.reduce((sum, process) => sum + lastRate(process, 1), 0)) : '…'}
                chart={<Spark times={rate.times} values={rate.values} now={live.now} label="Allocations a second, all processes" fill />}
            />
            <Tile
                title={`Live bytes${place}`}
                value={live.loaded ? bytes(running.reduce((sum, process) => sum + process.live_bytes, 0)) : '…'}
                chart={<Spark times={bytesNow.times} values={bytesNow.values} now={live.now} label="Live bytes, all processes" fromZero={false} />}
            />
        </div>
    )
}

export function Overview({ place }: { place: Place }) {
    const live = useLive()
    const filter = filterOf(place)
    const now = useNow(60_000)
    const groups = useApi<Groups>(groupsPath(filter, now), 3000)
    return (
        <>
            <Heading hidden>
                Overview
            </Heading>
            <Tiles live={live} groups={groups.data} filtered={isFiltered(filter)} />
            <Panel title="Incidents" aside={groups.data && <span class="aside">one row for each bug, latest first</span>}>
                <FilteredGroups place={place} groups={groups} filter={filter} />
            </Panel>
            <Panel title="Processes">
                <ProcessTable live={live} most={mostProcesses} />
            </Panel>
        </>
    )
}

export function Processes() {
    const live = useLive()
    return (
        <>
            <Heading>Processes</Heading>
            <Panel title={live.loaded ? plural(live.processes.length, 'process', 'processes') : '…'}>
                <ProcessTable live={live} />
            </Panel>
        </>
    )
}
