// Where the page is: the path and query of the address bar, so that every view is a link that can be shared.
import { useEffect, useState } from 'preact/hooks'

export interface Place {
    path: string
    query: URLSearchParams
}

const here = (): Place => ({ path: location.pathname, query: new URLSearchParams(location.search) })
const listeners = new Set<() => void>()

function tell() {
    for (const listener of listeners) listener()
}

export function go(to: string, replace = false) {
    if (replace) history.replaceState(null, '', to)
    else history.pushState(null, '', to)
    tell()
    if (!replace) {
        scrollTo(0, 0)
        // What was focused is gone: go on at the new view's start.
        document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true })
    }
}

export function usePlace(): Place {
    const [place, set] = useState(here)
    useEffect(() => {
        const update = () => set(here())
        listeners.add(update)
        addEventListener('popstate', update)
        return () => {
            listeners.delete(update)
            removeEventListener('popstate', update)
        }
    }, [])
    return place
}

// Links inside the page change the view; all others, and those opened in another tab, are the browser's.
export function catchLinks() {
    document.addEventListener('click', (event) => {
        if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
        const link = (event.target as Element).closest('a')
        if (link === null || link.origin !== location.origin || link.target !== '' || link.hasAttribute('download')) return
        if (link.hash !== '' && link.pathname === location.pathname) return
        if (!/^\/($|(incidents|groups|processes)(\/|$))/.test(link.pathname)) return
        event.preventDefault()
        go(link.pathname + link.search)
    })
}

export function withQuery(path: string, query: Record<string, string | undefined>): string {
    const parameters = new URLSearchParams()
    for (const [key, value] of Object.entries(query)) if (value) parameters.set(key, value)
    const text = parameters.toString()
    return text === '' ? path : `${path}?${text}`
}
