// The processes and their last minutes, kept up to date while anything on the page shows them. One poll for all of it.
import { useEffect, useState } from 'preact/hooks'
import { get } from './api'
import type { Live, LiveProcess, Point } from './types'

export const windowSeconds = 90 // of the small charts
const keptSeconds = 600
const fewProcesses = 40 // above that it is asked less often

export interface LiveState {
    now: number // of the exporter's clock, ms
    processes: LiveProcess[]
    loaded: boolean
}

let state: LiveState = { now: Date.now(), processes: [], loaded: false }
const listeners = new Set<(state: LiveState) => void>()
let timer: number | undefined
let asking = false

function merge(before: Point[], more: Point[], now: number): Point[] {
    const last = before.length > 0 ? before[before.length - 1][0] : 0
    const all = before.concat(more.filter((point) => point[0] > last))
    const from = all.findIndex((point) => point[0] > now - keptSeconds * 1000)
    return from > 0 ? all.slice(from) : all
}

async function ask() {
    if (asking) return
    asking = true
    let every = 1000
    try {
        if (!document.hidden) {
            const since = state.loaded ? `since=${state.now - 1500}` : `seconds=${windowSeconds}`
            const live = await get<Live>(`/api/v1/live?${since}`)
            const before = new Map(state.processes.map((process) => [process.id, process.points]))
            for (const process of live.processes)
                process.points = merge(before.get(process.id) ?? [], process.points, live.now)
            state = { now: live.now, processes: live.processes, loaded: true }
            if (live.processes.length > fewProcesses) every = 2000
            for (const listener of listeners) listener(state)
        }
    } catch {
        every = 3000 // the page's head says it: other requests fail as well
    }
    asking = false
    if (listeners.size > 0) timer = setTimeout(ask, every)
}

export function useLive(): LiveState {
    const [now, set] = useState(state)
    useEffect(() => {
        listeners.add(set)
        if (listeners.size === 1) void ask()
        return () => {
            listeners.delete(set)
            if (listeners.size === 0) clearTimeout(timer)
        }
    }, [])
    return now
}

// Puts what the exporter remembers of one process, some ten minutes, in front of what is there.
export async function loadHistory(pid: number) {
    const live = await get<Live>(`/api/v1/live?pid=${pid}`).catch(() => undefined)
    if (live === undefined) return
    const longer = new Map(live.processes.map((process) => [process.id, process.points]))
    state = {
        ...state,
        processes: state.processes.map((process) => {
            const points = longer.get(process.id)
            return points === undefined ? process : { ...process, points: merge(points, process.points, state.now) }
        }),
    }
    for (const listener of listeners) listener(state)
}

// Column `index` of the points as a rate a second; null where there is nothing to compare with.
export function rates(points: Point[], index: 1 | 2): (number | null)[] {
    return points.map((point, i) => {
        if (i === 0) return null
        const seconds = (point[0] - points[i - 1][0]) / 1000
        return seconds > 0 && seconds < 10 ? Math.max(0, (point[index] - points[i - 1][index]) / seconds) : null
    })
}

export function lastRate(process: LiveProcess, index: 1 | 2): number {
    if (!process.alive) return 0
    const all = rates(process.points.slice(-4), index).filter((rate): rate is number => rate !== null)
    return all.length > 0 ? all.reduce((sum, rate) => sum + rate, 0) / all.length : 0
}
