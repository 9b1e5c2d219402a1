// The rows of a table that may be long: a screenful is drawn at once and the rest slice by slice, so that the page
// answers in between, and a row is drawn again only when what it shows has changed.
import type { ComponentChild } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'

const slice = 15

// How many of `all` are drawn by now.
function useSlices(all: number): number {
    const [drawn, set] = useState(slice)
    useEffect(() => {
        if (drawn === Math.max(all, slice)) return
        const frame = requestAnimationFrame(() => set(Math.max(Math.min(drawn + slice, all), slice)))
        return () => cancelAnimationFrame(frame)
    }, [drawn, all])
    return drawn
}

function Row<T>({ item, draw }: { item: T; draw: (item: T) => ComponentChild }) {
    const content = JSON.stringify(item)
    return <>{useMemo(() => draw(item), [content, draw])}</>
}

// `draw` has to stay the same function, or every row is drawn anew.
export function Rows<T>({ items, id, draw }: { items: T[]; id: (item: T) => string; draw: (item: T) => ComponentChild }) {
    const drawn = useSlices(items.length)
    return (
        <tbody>
            {items.slice(0, drawn).map((item) => (
                <Row key={id(item)} item={item} draw={draw} />
            ))}
        </tbody>
    )
}
