// Asking the exporter, once or again and again.
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Kind } from './types'

export class ApiError extends Error {
    constructor(
        message: string,
        readonly status: number,
    ) {
        super(message)
    }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
    let answer: Response
    let body: unknown
    try {
        answer = await fetch(path, { signal, headers: { Accept: 'application/json' } })
        body = await answer.json()
    } catch (error) {
        if (signal?.aborted) throw error
        throw new ApiError('The exporter does not answer.', 0)
    }
    if (answer.ok) return body as T
    const said = (body as { error?: unknown }).error
    throw new ApiError(typeof said === 'string' ? said : `The exporter answered ${answer.status}.`, answer.status)
}

export interface Answer<T> {
    data?: T
    error?: ApiError
}

// Whether the last request reached the exporter; the page's head shows it.
type Listener = (connected: boolean) => void
const listeners = new Set<Listener>()
let connected = true
function tellConnected(now: boolean) {
    if (now === connected) return
    connected = now
    for (const listener of listeners) listener(now)
}

export function useConnected(): boolean {
    const [now, set] = useState(connected)
    useEffect(() => {
        listeners.add(set)
        return () => void listeners.delete(set)
    }, [])
    return now
}

// Asks for `path` now, and again `every` ms behind each answer (0: once). What was there stays while a new answer is on
// its way, and when it fails. Nothing is asked while nobody looks at the page.
export function useApi<T>(path: string | null, every = 0): Answer<T> {
    const [answer, set] = useState<Answer<T> & { path?: string | null }>({})
    useEffect(() => {
        if (path === null) return
        const abort = new AbortController()
        let timer: number | undefined
        const ask = async () => {
            if (document.hidden && every > 0) {
                timer = setTimeout(ask, every)
                return
            }
            try {
                set({ data: await get<T>(path, abort.signal), path })
                tellConnected(true)
            } catch (error) {
                if (abort.signal.aborted) return
                const failed = error as ApiError
                if (failed.status === 0) tellConnected(false)
                set((before) => ({ data: before.path === path ? before.data : undefined, error: failed, path }))
            }
            if (every > 0 && !abort.signal.aborted) timer = setTimeout(ask, every)
        }
        void ask()
        return () => {
            abort.abort()
            clearTimeout(timer)
        }
    }, [path, every])
    return answer
}

// The words for each kind: asked for once.
let kinds: Promise<Map<string, Kind>> | undefined
export function useKinds(): Map<string, Kind> {
    const [known, set] = useState<Map<string, Kind>>(new Map())
    useEffect(() => {
        kinds ??= get<Kind[]>('/api/v1/kinds').then((list) => new Map(list.map((kind) => [kind.kind, kind])))
        kinds.then(set, () => (kinds = undefined))
    }, [])
    return known
}

// Calls `listener` every few seconds; one timer for all of them.
const tickers = new Set<() => void>()
let ticking: number | undefined
export function onTick(listener: () => void): () => void {
    tickers.add(listener)
    ticking ??= setInterval(() => {
        for (const ticker of tickers) ticker()
    }, 5000)
    return () => {
        tickers.delete(listener)
        if (tickers.size > 0) return
        clearInterval(ticking)
        ticking = undefined
    }
}

// The time now, told anew every `every` ms.
export function useNow(every: number): number {
    const [now, set] = useState(Date.now())
    useEffect(() => {
        const timer = setInterval(() => set(Date.now()), every)
        return () => clearInterval(timer)
    }, [every])
    return now
}

// The value of the render before.
export function useLatest<T>(value: T): { readonly current: T } {
    const latest = useRef(value)
    latest.current = value
    return latest
}
