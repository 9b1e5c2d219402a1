// The page's frame: the bar on top, and the view that belongs to the address.
import { render } from 'preact'
import { useState } from 'preact/hooks'
import { useConnected } from './api'
import { GroupView } from './group'
import { HeapView } from './heap'
import { IncidentView } from './incident'
import { Overview, Processes } from './overview'
import { Heading } from './parts'
import { ProcessView } from './process'
import { catchLinks, type Place, usePlace } from './router'

type Theme = 'system' | 'light' | 'dark'
const themes: Theme[] = ['system', 'light', 'dark']
const themeKey = 'hakmem-theme'

function savedTheme(): Theme {
    try {
        const saved = localStorage.getItem(themeKey) as Theme
        return themes.includes(saved) ? saved : 'system'
    } catch {
        return 'system' // storage is switched off
    }
}

function applyTheme(theme: Theme) {
    document.documentElement.dataset.theme = theme
}

function ThemeButton() {
    const [theme, set] = useState(savedTheme)
    const next = themes[(themes.indexOf(theme) + 1) % themes.length]
    const change = () => {
        try {
            localStorage.setItem(themeKey, next)
        } catch {
            // then it holds for this page only
        }
        applyTheme(next)
        set(next)
    }
    return (
        <button type="button" class="theme" onClick={change} title={`Colours: ${theme}. Click for ${next}.`}>
            <svg viewBox="0 0 16 16" aria-hidden="true">
                <circle cx="8" cy="8" r="6.25" fill="none" stroke="currentColor" stroke-width="1.5" />
                {theme === 'system' && <path d="M8 1.75a6.25 6.25 0 0 1 0 12.5z" fill="currentColor" />}
                {theme === 'dark' && <circle cx="8" cy="8" r="6.25" fill="currentColor" />}
            </svg>
            <span class="offscreen">Colours: {theme}</span>
        </button>
    )
}

function Bar({ place }: { place: Place }) {
    const connected = useConnected()
    const current = (path: string) => (place.path === path ? 'page' : undefined)
    return (
        <header class="bar">
            <a class="skip" href="#view">
                Skip to the content
            </a>
            <a class="logo" href="/">
                <svg viewBox="0 0 32 24" aria-hidden="true">
                    <rect class="logo-block" x="1" y="2" width="30" height="20" rx="4" />
                    <rect class="logo-header" x="5" y="7" width="4" height="10" rx="1" />
                    <rect class="logo-data" x="11" y="7" width="16" height="10" rx="1" />
                </svg>
                hakmem
            </a>
            <nav aria-label="Views">
                <a href="/" aria-current={current('/')}>
                    Overview
                </a>
                <a href="/processes" aria-current={current('/processes')}>
                    Processes
                </a>
                <a href="/metrics">Metrics</a>
            </nav>
            <span class={`connection ${connected ? 'on' : 'off'}`} role="status">
                {connected ? 'live' : 'no answer'}
            </span>
            <ThemeButton />
        </header>
    )
}

function View({ place }: { place: Place }) {
    const [, view, name, part] = place.path.split('/')
    if (view === '' || view === undefined) return <Overview place={place} />
    if (view === 'incidents' && name) return <IncidentView key={name} id={name} />
    if (view === 'groups' && name) return <GroupView key={name} fingerprint={name} />
    if (view === 'processes' && !name) return <Processes />
    if (view === 'processes' && /^\d+$/.test(name) && part === undefined) return <ProcessView key={name} pid={Number(name)} />
    if (view === 'processes' && /^\d+$/.test(name) && part === 'heap') return <HeapView key={name} pid={Number(name)} />
    return (
        <>
            <Heading>There is no such page</Heading>
            <p>
                <a href="/">Back to the overview</a>
            </p>
        </>
    )
}

function Page() {
    const place = usePlace()
    return (
        <>
            <Bar place={place} />
            <main id="view" tabIndex={-1}>
                <View place={place} />
            </main>
        </>
    )
}

applyTheme(savedTheme())
catchLinks()
render(<Page />, document.getElementById('page')!)
