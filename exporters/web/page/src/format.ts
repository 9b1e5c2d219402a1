// Numbers, sizes and times as people read them.

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export function bytes(value: number): string {
    const sign = value < 0 ? '−' : ''
    let size = Math.abs(value)
    let unit = 0
    while (size >= 1023.95 && unit + 1 < units.length) {
        size /= 1024
        ++unit
    }
    return `${sign}${unit === 0 ? Math.round(size) : size.toFixed(size < 10 ? 2 : 1)} ${units[unit]}`
}

export function count(value: number): string {
    const size = Math.abs(value)
    const sign = value < 0 ? '−' : ''
    if (size < 10_000) return `${sign}${exact(Math.round(size))}`
    if (size < 1e6) return `${sign}${(size / 1e3).toFixed(size < 1e5 ? 1 : 0)} k`
    if (size < 1e9) return `${sign}${(size / 1e6).toFixed(size < 1e7 ? 2 : 1)} M`
    return `${sign}${(size / 1e9).toFixed(2)} G`
}

// By hand: the first use of toLocaleString costs tens of milliseconds.
export const exact = (value: number) => String(value).replace(/\B(?=(\d{3})+$)/g, ',')

export function plural(value: number, one: string, many = `${one}s`): string {
    return `${value < 10_000 ? exact(value) : count(value)} ${value === 1 ? one : many}`
}

export function duration(seconds: number): string {
    const whole = Math.max(0, Math.floor(seconds))
    if (whole < 60) return `${whole} s`
    if (whole < 3600) return `${Math.floor(whole / 60)} min`
    if (whole < 48 * 3600) {
        const minutes = Math.floor((whole % 3600) / 60)
        return `${Math.floor(whole / 3600)} h${minutes > 0 ? ` ${minutes} min` : ''}`
    }
    return `${Math.floor(whole / 86400)} d`
}

export function ago(time: string, now: number): string {
    const seconds = (now - Date.parse(time)) / 1000
    return seconds < 2 ? 'now' : `${duration(seconds)} ago`
}

const two = (value: number) => String(Math.floor(value)).padStart(2, '0')

export const timeOfDay = (at: Date) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`

// As logs write it, in the reader's own zone, which is named: 2026-11-24 23:51:05 UTC+01:00.
export function dateTime(time: string): string {
    const at = new Date(time)
    const minutes = -at.getTimezoneOffset()
    const away = Math.abs(minutes)
    const zone = minutes === 0 ? '' : `${minutes < 0 ? '-' : '+'}${two(away / 60)}:${two(away % 60)}`
    const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
    return `${day} ${timeOfDay(at)} UTC${zone}`
}

export function fileName(path: string): string {
    return path.slice(path.lastIndexOf('/') + 1)
}

export function hexByte(value: number): string {
    return value.toString(16).padStart(2, '0')
}
